"""The body of a spool's record, and that a spool of an earlier version is read: golden/spool-v1 is never made anew."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.batch import Batch, Kept, joined
from listener.spool import Spool
from listener.spool_record import decode, encode
from store.points import Point

GOLDEN = Path(__file__).parent / "golden"
T_NS = 1763690000 * 10**9

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.floats(allow_nan=False) | texts
points = st.builds(
    Point, texts, st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    st.dictionaries(texts, values, min_size=1, max_size=4), st.integers(-(2**63), 2**63 - 1),
)  # fmt: skip
kept = st.builds(Kept, texts, st.binary(max_size=50), st.integers(0, 2**63 - 1))


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Return any batch: messages with several points, with one, with none."""
    found = draw(st.lists(st.tuples(kept, st.lists(points, max_size=3)), max_size=5))
    starts, total = [], 0
    for _, own in found:
        starts.append(total)
        total += len(own)
    return Batch([point for _, own in found for point in own], starts, [message for message, _ in found])


@given(batches())
def test_what_goes_in_comes_out(batch: Batch) -> None:
    """Any text, any number, any bytes."""
    assert decode(encode(batch)) == batch


@given(st.lists(batches(), min_size=1, max_size=3))
def test_joined_batches_keep_their_messages(found: list[Batch]) -> None:
    """Each point knows where it came from."""
    whole = joined(found)
    origins = [batch.origin(index) for batch in found for index in range(len(batch.points))]
    assert [whole.origin(index) for index in range(len(whole.points))] == origins


@given(batches(), st.data())
def test_a_part_of_a_batch_keeps_its_messages(batch: Batch, data: st.DataObject) -> None:
    """As when some points are stored already."""
    kept = [index for index in range(len(batch.points)) if data.draw(st.booleans())]
    part = batch.only(kept)
    assert [part.origin(i) for i in range(len(kept))] == [batch.origin(index) for index in kept]


@given(st.binary())
def test_what_is_no_body_is_refused(body: bytes) -> None:
    """And nothing else is raised."""
    with pytest.raises(ValueError, match="."):
        decode(body)


@pytest.mark.parametrize("value", [10**30, "\ud800"])
def test_what_no_store_takes_is_no_body(value: float | str) -> None:
    """The delivery makes dead letters, or floats, of it."""
    with pytest.raises(ValueError, match="."):
        encode(Batch([Point("readings", (), {"x": value}, 1)]))


def test_a_spool_of_format_1_is_read(tmp_path: Path) -> None:
    """Written by version 0.1.0: its cursor stands behind the first of two records."""
    path = tmp_path / "spool"
    shutil.copytree(GOLDEN / "spool-v1", path)
    spool = Spool(path, 1 << 20, 1e12)
    spool.add_reader("main", required=True, from_start=True)
    (record,) = spool.read("main", 10, spool.end)
    assert (record.points, record.appended_ns) == (1, T_NS)
    lights = (("device", "lights"), ("pin", "red"), ("slot", "alert"))
    assert decode(record.body) == Batch(
        [Point("actuations", lights, {"value": 1.0, "source": "too, bright é"}, T_NS + 1)],
        [0, 0],
        [Kept("pinloop/x/status", b"\xff", T_NS), Kept("pinloop/lights/pin/red/set", b'{"v":1}', T_NS + 1)],
    )
    first = decode(next(spool.newest(1 << 20)).body)
    assert first.points[0] == Point("readings", (("device", "pot"),), {"pot": 61.5, "n": 17, "boot": "k3f9"}, T_NS + 17)
    assert first.origin(1) == Kept("pinloop/pot/reading/pot", b'{"v":61.5,"n":17,"b":"k3f9"}', T_NS)

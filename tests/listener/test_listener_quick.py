"""The quick way of a reading and the general one: the same points for every message, and quick where it should be."""

import gc
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.assemble import Assembler
from listener.decode import Decoder
from listener.queue import Received
from listener.quick import QuickReader
from listener.translate import Translator
from store import Point, StoreError
from store.lines import line, lines

NOW_S = 1763690000
NOW_NS = NOW_S * 10**9
DAY_NS = 86400 * 10**9

NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -0.0, 21.5, 40, 2**53 - 1, 2**53, 10**400, True, None, "1"])
TIMES = st.sampled_from([None, NOW_S - 60.5, NOW_S, NOW_S - 3, NOW_S + 3600, NOW_S + 10**6, 0, 12.5, "x", True, 1e300])
COUNTS = st.sampled_from([None, 0, 1, 2, 3, 1001, -1, 1.0, "1", True, 2**53])
BOOTS = st.sampled_from([None, "", "k3f9", "other", 7, "x" * 17, "a\nb"])
SENSORS = st.sampled_from(["temperature", "humidity", "pot", "Bad", "n", "device", "_x", ""])


def said(mark: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return what may stand beside the values; None: it is not said."""
    book = st.fixed_dictionaries(
        {mark + "t": TIMES, mark + "n": COUNTS, mark + "b": BOOTS, mark + "a": st.sampled_from([None, 0, 60])}
    )
    return book.map(lambda fields: {key: value for key, value in fields.items() if value is not None})


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


SEVERAL = st.tuples(st.dictionaries(SENSORS, NUMBERS, max_size=3), said("_")).map(lambda two: two[0] | two[1])
SINGLE = st.tuples(NUMBERS, said("")).map(lambda two: {"v": two[0], **two[1]})
MESSAGES = st.one_of(
    st.tuples(st.just("pinloop/pot/readings"), SEVERAL.map(dumped)),
    st.tuples(st.just("pinloop/pot/readings"), st.lists(SEVERAL, max_size=2).map(dumped)),
    st.tuples(st.sampled_from(["pinloop/pot/reading/pot", "/pot", "pinloop/pot/reading/n"]), SINGLE.map(dumped)),
    st.tuples(
        st.just("/pot"), st.sampled_from([b"61", b" 61.5 ", b"-0", b"+1", b".5", b"1E5", b"nan", b"1_0", b"\xff", b""])
    ),
    st.tuples(
        st.sampled_from(["pinloop/pot/status", "pinloop/pot/info", "x"]),
        st.sampled_from([b"online", b'{"rssi":-1}', b"1"]),
    ),
)
RECEIVED = st.tuples(MESSAGES, st.booleans(), st.sampled_from([0, 1, 500, 7 * 10**9, DAY_NS])).map(
    lambda found: (Received(*found[0], retain=found[1]), found[2])
)


def translator(quick: bool) -> Translator:
    made = Translator(Decoder("pinloop", "/pot=seed/pot"), Assembler())
    if not quick:
        made._quick.read = lambda _topic, _payload: None  # type: ignore[method-assign]
    return made


def stored(made: Translator, messages: Sequence[tuple[Received, int]]) -> list[Any]:
    """Return the points of messages that come one after the other, and what was rejected."""
    found: list[Any] = []
    now_ns = NOW_NS
    for received, later_ns in messages:
        now_ns += later_ns
        one = Received(received.topic, received.payload, received.retain, received_ns=now_ns)
        found += [(point, repr(point)) for point in made.batch([one], 100).points]
        found += [why for _, why in made.rejected()]
    return found


@given(st.lists(RECEIVED, min_size=1, max_size=12))
def test_both_ways_make_the_same_points(messages: list[tuple[Received, int]]) -> None:
    """Whatever comes, in whatever order: numbers in every spelling, times, names of samples, gaps of a day."""
    assert stored(translator(quick=True), messages) == stored(translator(quick=False), messages)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("pinloop/pot/readings", b'{"temperature":21.5,"humidity":40}'),
        ("pinloop/pot/readings", b'{"temperature":21.5,"_t":%d,"_n":%%d,"_b":"k3f9"}' % NOW_S),
        ("pinloop/pot/readings", b'{"temperature":21.5,"_n":%d,"_b":"k3f9"}'),
        ("pinloop/pot/reading/pot", b'{"v":61.5,"n":%d,"b":"k3f9"}'),
        ("/pot", b"61"),
    ],
)
def test_the_readings_of_our_firmware_go_the_quick_way(
    topic: str, payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the second of a device on; or this way would be fast for nobody."""
    made = translator(quick=True)
    messages = [Received(topic, payload % n if b"%d" in payload else payload, received_ns=NOW_NS + n) for n in range(3)]
    made.batch(messages[:1], 100)
    monkeypatch.setattr(Decoder, "decode", lambda *_: pytest.fail("the general way was asked"))
    assert len(made.batch(messages[1:], 100).points) == 2


def test_a_message_that_is_refused_is_gone_when_its_letter_is_written() -> None:
    """Without the garbage collector: a listener asks it rarely, and thousands of payloads would wait for that."""
    made = translator(True)
    topic = "pinloop/pot/readings"
    for payload in (b"x" * 60_000, b'[{"a":1},{"a":"x"}]', b'{"n":1}', b"\xff"):
        gc.collect()
        made.batch([Received(topic, payload, received_ns=NOW_NS)], 10)
        assert len(made.rejected()) == 1
        assert gc.collect() == 0


def test_it_remembers_a_bounded_number_of_topics_shapes_and_starts() -> None:
    """Strangers may invent them without end."""
    reader = QuickReader(lambda topic: ("pot", ""))
    for n in range(20000):
        assert reader.read(f"t{n}", b'{"s%d":1,"_n":1,"_b":"b%d"}' % (n, n))
    assert max(map(len, (reader._places, reader._shapes, reader._boots))) <= 16385


VALUES = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=5)
    | st.booleans()
)
NAMES = st.text(min_size=1, max_size=4)
POINTS = st.builds(
    Point, NAMES, st.lists(st.tuples(NAMES, NAMES), max_size=2).map(tuple), st.dictionaries(NAMES, VALUES, max_size=3),
    st.integers(-(2**63), 2**63),
)  # fmt: skip


@given(st.lists(POINTS, max_size=4))
def test_many_lines_are_the_lines_of_each(points: list[Point]) -> None:
    """Also the second time, when names and heads are known; a point that is refused alone is refused among others."""
    try:
        alone = "\n".join(map(line, points)).encode()
    except StoreError:
        for _ in range(2):
            with pytest.raises(StoreError):
                lines(points)
    else:
        assert lines(points) == lines(points) == alone

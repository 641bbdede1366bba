"""What the store is said to have already, kept on disk: used while it is whole, and only then."""

from pathlib import Path
from typing import Any

import pytest

from listener.doubts import Doubts
from listener.spool import Spool
from tests.support.deliveries import T_NS, Memory, batch, point


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool with a record that the main store has yet to take."""
    spool = Spool(tmp_path, 1 << 20, 1e6)
    spool.add_reader("main", required=True, from_start=True)
    spool.append(b"one", 1)
    return spool


def stored(*numbers: int) -> Any:
    """Return a store that has these."""
    store = Memory()
    store.points = {T_NS + n: point(n) for n in numbers}
    return store


def left(doubts: Doubts, *numbers: int) -> list[int]:
    """Return which of these in the spool go to the store."""
    return [int(one.fields["n"]) for one in doubts.unstored(batch(*map(point, numbers)), 0).points]


def test_the_next_life_knows_it_though_the_store_does_not_say_it_any_more(spool: Spool) -> None:
    """As when thousands of later ones were stored meanwhile."""
    assert left(Doubts(stored(1, 2), spool, "main"), 1, 2, 3) == [3]
    assert left(Doubts(stored(), spool, "main"), 1, 2, 3) == [3]


@pytest.mark.parametrize("place", range(0, 330, 9))
def test_a_changed_bit_makes_no_sample_a_stored_one(spool: Spool, place: int) -> None:
    """A damaged file is none: rather twice than not at all."""
    left(Doubts(stored(1, 2), spool, "main"), 1)
    path = spool.path / "known"
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 8
    path.write_bytes(data)
    assert left(Doubts(stored(), spool, "main"), 1, 2, 3) == [1, 2, 3]


def test_a_file_of_a_version_without_a_check_sum_is_none(spool: Spool) -> None:
    """Nor is an empty one; both are replaced."""
    left(Doubts(stored(1, 2), spool, "main"), 1)
    path = spool.path / "known"
    for data in (path.read_bytes()[4:], b"", b"\x00"):
        path.write_bytes(data)
        assert left(Doubts(stored(2), spool, "main"), 1, 2, 3) == [1, 3]
        assert left(Doubts(stored(), spool, "main"), 1, 2, 3) == [1, 3]

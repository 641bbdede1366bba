"""What is remembered is bounded by its size."""

from service.packets import MOST_TOPIC_CHARS, Received, Scanner
from service.remembered import Remembered
from tests.support.wire import publish


def test_it_forgets_everything_when_it_takes_too_many_bytes() -> None:
    """And goes on from there."""
    known = Remembered[str, int](64_000)
    for number in range(100):
        known.keep(f"k{number}", number, 440)
    known.keep("k7", 7, 440)  # it is there already, and counts once
    assert len(known) == 100
    known.keep("more", 1, 440)
    assert known == {"more": 1}


def test_a_large_entry_is_not_remembered_and_pushes_nothing_out() -> None:
    """A stranger's long name costs nobody else's place."""
    known = Remembered[str, int](64_000)
    known.keep("small", 1, 10)
    known.keep("x" * 1000, 2, 1000)
    assert known == {"small": 1}


def test_of_a_topic_no_more_is_kept_than_shows_that_it_is_too_long() -> None:
    """64 KB of topic in each of a thousand messages that wait would fill the memory."""
    found: list[Received] = []
    for length in (MOST_TOPIC_CHARS, MOST_TOPIC_CHARS + 1, 60_000):
        data = publish(b"t" * length, b"1", 1)
        Scanner().scan(data, 0, 0, 0, found)
    assert [len(one.topic) for one in found] == [256, 257, 257]

"""The queue between the network thread and the writer: whole batches, bounded memory."""

import threading

import pytest

from listener.queue import Queue, Received
from tests.support.wait import until


def batch(*numbers: int) -> list[Received]:
    return [Received("t", b"x" * 100, mid=n) for n in numbers]


def test_batches_come_out_in_order_and_no_larger_than_asked() -> None:
    """A batch is split where the taker's limit is."""
    queue = Queue(1 << 20)
    queue.put(batch(1, 2, 3, 4, 5))
    queue.put(batch(6, 7))
    assert [[one.mid for one in queue.take(most)] for most in (2, 4, 10)] == [[1, 2], [3, 4, 5, 6], [7]]
    assert queue._bytes == 0


def test_of_large_messages_few_are_taken_at_once() -> None:
    """As points and lines they take ten times the memory: a megabyte, however many there are."""
    queue = Queue(1 << 30)
    for _ in range(100):
        queue.put([Received("t", bytes(50_000)) for _ in range(5)])
    assert [len(queue.take(5000)) for _ in range(3)] == [25, 25, 25]
    assert queue._bytes == 425 * 50_300


def test_a_full_queue_has_no_room_until_something_is_taken() -> None:
    """The network thread does not read meanwhile, so memory is bounded."""
    queue = Queue(1000)
    assert queue.room(0)
    queue.put(batch(*range(3)))
    assert not queue.room(0.01)
    assert "full" in (queue.problem() or "")
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(queue.room(5)))
    waiting.start()
    queue.take(1)
    until(lambda: answers == [True])
    waiting.join(5)
    assert queue.problem() is None


def test_a_closed_queue_takes_nothing_and_gives_what_it_holds() -> None:
    """Who waits for room is let go: what it brings is dropped, and the broker keeps it."""
    queue = Queue(1)
    queue.put(batch(1))
    queue.close()
    assert queue.room(5)
    assert not queue.put(batch(2))
    assert [one.mid for one in queue.take(10)] == [1]
    assert queue.take(10) == []


def test_under_load_a_batch_waits_while_more_come_and_a_lone_message_does_not() -> None:
    """A write costs as much as twenty messages; whoever measures single readings must not wait for company."""
    coming = [batch(*range(40)), batch(*range(40)), []]
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        queue.put(more) if (more := coming.pop(0)) else None

    queue = Queue(1 << 20, pause)
    queue.put(batch(1))
    assert (len(queue.take(5000)), pauses) == (1, [])
    queue.put(batch(*range(40)))
    assert (len(queue.take(5000)), pauses) == (40, [])
    queue.put(batch(1))
    assert (len(queue.take(5000)), pauses) == (81, [0.002] * 3)


def test_a_batch_waits_a_hundredth_of_a_second_at_most() -> None:
    """Also when there is no end to what comes."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        queue.put(batch(*range(50)))

    queue = Queue(1 << 20, pause)
    queue.put(batch(*range(50)))
    queue.take(5000)
    queue.put(batch(*range(50)))
    assert len(queue.take(5000)) == 300
    assert sum(pauses) == pytest.approx(0.01)


def test_nobody_waits_for_more_when_there_is_enough_or_the_end_has_come() -> None:
    """A megabyte is worked on at once; a closed queue gets nothing more."""
    queue = Queue(1 << 30, lambda _seconds: pytest.fail("waited"))
    queue.put([Received("t", bytes(50_000)) for _ in range(60)])
    assert len(queue.take(40)) == 40
    queue.put([Received("t", bytes(50_000)) for _ in range(20)])
    assert len(queue.take(5000)) == 40
    queue.put(batch(1))
    queue.close()
    assert len(queue.take(5000)) == 1

"""The delivery half: direct, through the spool, held, and after a restart. No MQTT."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from listener.batch import Batch, Kept
from listener.delivery import Stopped
from store import Point
from tests.support.deliveries import DOWN, T_NS, Bench, Memory, batch, benched, figure, point
from tests.support.wait import until


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose deliveries have ended when the test has."""
    yield from benched(tmp_path, monkeypatch)


def test_a_backlog_is_replayed_in_order_while_live_points_go_direct(bench: Bench) -> None:
    """At a bounded rate: the live ones do not wait for it."""
    store = Memory()
    delivery = bench.start(store, replay_points_per_s=400)
    store.fails = DOWN
    for n in range(20):
        delivery.deliver(batch(*[point(n * 20 + i) for i in range(20)]))
    store.fails = None
    until(lambda: delivery.problem() is None)
    started_s = time.monotonic()
    delivery.deliver(batch(point(10_000)))
    assert 10_000 in store.order
    assert len(store.order) < 300
    until(lambda: len(store.order) == 401)
    assert time.monotonic() - started_s > 0.5
    assert [n for n in store.order if n != 10_000] == list(range(400))
    assert store.most <= 100


def test_while_the_store_is_down_nothing_is_held_in_memory(bench: Bench) -> None:
    """50,000 points: the batches are gone as soon as they are on the disk."""
    import gc
    import weakref

    store = Memory()
    delivery = bench.start(store, max_bytes=64 << 20)
    store.fails = DOWN
    refs = []

    class Watched(list[Point]):
        pass

    for n in range(500):
        points = Watched(point(n * 100 + i) for i in range(100))
        refs.append(weakref.ref(points))
        delivery.deliver(Batch(points))
    del points
    gc.collect()
    assert sum(ref() is not None for ref in refs) <= 1
    assert figure("listener_spool_bytes") > 100_000
    store.fails = None
    until(lambda: len(store.points) == 50_000, 20)


def test_after_a_restart_the_backlog_goes_on(bench: Bench) -> None:
    """The store was down when the listener started, too: it did not wait for it."""
    store = Memory()
    store.fails = DOWN
    first = bench.start(store)
    first.deliver(batch(point(1)))
    first.close()
    second = bench.start(store)
    second.deliver(batch(point(2)))
    store.fails = None
    until(lambda: store.order == [1, 2])


def test_what_was_stored_is_recognised_though_the_store_was_down_at_the_start(bench: Bench) -> None:
    """Stored, killed before the broker heard of it, brought again with a later time while the store is down."""
    store = Memory()
    bench.start(store).deliver(batch(point(1), point(2)))
    store.fails = DOWN
    after = bench.start(store)
    again = Point("readings", (("device", "pot"),), {"pot": 1.0, "n": 2, "boot": "k3f9"}, T_NS + 999)
    after.deliver(batch(again, point(3)))
    store.fails = None
    until(lambda: len(store.order) == 3)
    assert list(store.points) == [T_NS + 1, T_NS + 2, T_NS + 3]
    assert set(after.news()) == {("pot", "k3f9", n, "pot") for n in (1, 2)}
    assert list(after.news()) == []


def test_what_was_stored_is_recognised_though_thousands_came_before_its_copy_left_the_spool(bench: Bench) -> None:
    """A listener killed over and over while a backlog waits: the store was asked before, and its answer is kept."""
    dead = threading.Event()

    class Slow(Memory):
        """Does not get far with the spool before the listener is killed."""

        def write(self, points: Sequence[Point]) -> None:
            if any(one.ts_ns == T_NS + 3 for one in points) and not dead.is_set():
                dead.wait(20)
                raise DOWN
            super().write(points)

    store = Slow()
    bench.start(store).deliver(batch(point(1), point(2)))
    store.fails = DOWN
    again = Point("readings", (("device", "pot"),), {"pot": 1.0, "n": 2, "boot": "k3f9"}, T_NS + 999)
    down = bench.start(store)
    down.deliver(batch(again, point(3)))
    down.close()
    store.fails = None
    bench.start(store).deliver(Batch([point(1000 + n) for n in range(9000)]))
    last = bench.start(store)
    dead.set()
    until(lambda: T_NS + 3 in store.points)
    assert again.ts_ns not in store.points
    until(lambda: last.deliver(batch(point(20_000))) or not (bench.spool_path / "known").exists())


def test_what_is_in_the_spool_is_recognised_when_it_comes_again(bench: Bench) -> None:
    """Spooled, and killed before the broker heard of it."""
    store = Memory()
    store.fails = DOWN
    bench.start(store).deliver(batch(point(1), point(2)))
    again = bench.start(store, news=False)
    assert set(again.news()) == {("pot", "k3f9", n, "pot") for n in (1, 2)}


def test_when_nothing_takes_points_they_are_held_until_something_does(bench: Bench) -> None:
    """Store down and spool full: `deliver` does not return, health says why; then it does, without a restart."""
    store = Memory()
    delivery = bench.start(store, max_bytes=65536)
    store.fails = DOWN
    done: list[int] = []
    total = 200

    def work() -> None:
        for n in range(total):
            delivery.deliver(Batch([point(n)], [0], [Kept("t", os.urandom(2000), T_NS)]))
            done.append(n)

    thread = threading.Thread(target=work)
    thread.start()
    until(delivery.held)
    held_at = len(done)
    assert "is full (65536 bytes)" in (delivery.held() or "")
    assert figure("listener_acknowledgements_held") == 1
    assert 10 < held_at < 60
    store.fails = None
    thread.join(20)
    assert len(done) == total
    assert delivery.held() is None
    assert figure("listener_acknowledgements_held") == 0
    until(lambda: len(store.points) == total)


def test_stopped_while_nothing_takes_points_it_says_so(bench: Bench) -> None:
    """The broker keeps what is not acknowledged."""
    store = Memory()
    store.fails = DOWN
    bench.spool_path.write_text("in the way")
    delivery = bench.start(store)
    delivery.stop()
    with pytest.raises(Stopped):
        delivery.deliver(batch(point(1)))


def test_points_that_no_spool_can_hold_are_dead_letters(bench: Bench) -> None:
    """A number beyond 64 bits is a float in every store; text that is no Unicode is none anywhere."""
    store = Memory()
    store.fails = DOWN
    delivery = bench.start(store)
    delivery.deliver(batch(point(1, value=2.0**80), point(2, "name", "\ud800"), point(3, value=10**30)))
    store.fails = None
    until(lambda: store.order == [1, 3])
    assert store.points[T_NS + 3].fields["pot"] == 1e30
    assert [letter["payload"] for letter in bench.dead()] == ["message 1"]


def test_a_batch_that_comes_while_the_store_is_asked_first_is_looked_at_too(bench: Bench) -> None:
    """Its answer was on the way when the batch was made: 2 is stored, and comes again with another time."""
    asked, answer = threading.Event(), threading.Event()

    class Slow(Memory):
        def devices(self) -> list[str]:
            if not self.fails:
                asked.set()
                answer.wait(5)
            return super().devices()

    store = Slow()
    store.write([point(1), point(2)])
    store.fails = DOWN
    delivery = bench.start(store, news=False)
    store.fails = None
    assert asked.wait(5)
    assert list(delivery.news()) == []
    again = Point("readings", (("device", "pot"),), {"pot": 1.0, "n": 2, "boot": "k3f9"}, T_NS + 999)
    delivery.deliver(batch(again, point(3)))
    answer.set()
    until(lambda: 3 in store.order)
    assert store.order == [1, 2, 3]

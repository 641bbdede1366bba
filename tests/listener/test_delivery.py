"""The delivery half: direct, through the spool, held; what stores answer; second stores. No MQTT."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from listener.backoff import Backoff
from listener.batch import Batch, Kept
from listener.dead import DeadLetters
from listener.delivery import Delivery, Stopped
from listener.spool import Spool
from store import Point, StoreError
from store.influx import InfluxStore
from store.json_lines import JsonLinesSink
from store.sqlite import SqliteStore
from tests.support.influx_standin import KINDS, StandIn, standing_in
from tests.support.wait import until

T_NS = 1763690000 * 10**9


def point(n: int, sensor: str = "pot", value: float | str = 1.0) -> Point:
    """Return a numbered reading."""
    return Point("readings", (("device", "pot"),), {sensor: value, "n": n, "boot": "k3f9"}, T_NS + n)


def batch(*points: Point) -> Batch:
    """Return a batch of points that each came in a message of its own."""
    messages = [Kept("pinloop/pot/readings", b"message %d" % i, T_NS) for i in range(len(points))]
    return Batch(list(points), list(range(len(points))), messages)


class Memory:
    """A store in memory that can be made to fail, and that says what it was given."""

    def __init__(self) -> None:
        self.fails: StoreError | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.points: dict[int, Point] = {}
        self.order: list[int] = []
        self.most = 0

    def write(self, points: Sequence[Point]) -> None:
        self.go_on.wait()
        if self.fails:
            raise self.fails
        self.most = max(self.most, len(points))
        for one in points:
            self.points[one.ts_ns] = one
            self.order.append(int(one.fields["n"]))

    def identities(self, _most: int) -> list[tuple[str, str, int, str]]:
        if self.fails:
            raise self.fails
        return [("pot", "k3f9", int(one.fields["n"]), "pot") for one in self.points.values()]

    def devices(self) -> list[str]:
        if self.fails:
            raise self.fails
        return []

    def close(self) -> None:
        pass


DOWN = StoreError("down")


class Bench:
    """Makes deliveries in one folder, as restarts of one listener do."""

    def __init__(self, folder: Path) -> None:
        self.spool_path = folder / "spool"
        self.dead_path = folder / "dead.jsonl"
        self.running: list[Delivery] = []

    def start(
        self,
        store: Any,
        second: dict[str, Any] | None = None,
        max_bytes: int = 1 << 20,
        replay_points_per_s: float = 10**6,
        news: bool = True,
    ) -> Delivery:
        """Return a delivery that is at work."""
        delivery = Delivery(
            store,
            Spool(self.spool_path, max_bytes, 3600),
            DeadLetters(self.dead_path),
            {name: (sink, 0) for name, sink in (second or {}).items()},
            batch_max_points=100,
            replay_points_per_s=replay_points_per_s,
            dedup_window=4096,
        )
        delivery.start()
        if news:
            list(delivery.news())
        self.running.append(delivery)
        return delivery

    def dead(self) -> list[dict[str, Any]]:
        """Return the dead letters."""
        return [json.loads(text) for text in self.dead_path.read_text().splitlines()] if self.dead_path.exists() else []


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose deliveries have ended when the test has."""
    monkeypatch.setattr("listener.backoff._LONGEST_S", 0.02)
    made = Bench(tmp_path)
    yield made
    for delivery in made.running:
        delivery.close()


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    """A stand-in for each generation of InfluxDB."""
    with standing_in(request.param) as running:
        yield running


def influx(server: StandIn) -> InfluxStore:
    """Return a store that writes there."""
    return InfluxStore(server.url, "o", "b", "t")


def figure(name: str, **labels: str) -> float:
    """Return a metric's value."""
    return REGISTRY.get_sample_value(name, labels) or 0


# What stores answer


@pytest.mark.parametrize("spooled", [False, True], ids=["direct", "from the spool"])
def test_only_the_bad_lines_become_dead_letters(server: StandIn, bench: Bench, spooled: bool) -> None:
    """In every generation, whether it keeps the good lines of a refused write or none; with message and reason."""
    server.down = spooled
    delivery = bench.start(influx(server))
    sensors = ["good"] * 40
    sensors[0] = sensors[17] = sensors[39] = "bad"
    sensors[18] = "conflict"
    delivery.deliver(batch(*[point(n, sensor) for n, sensor in enumerate(sensors)]))
    server.down = False
    until(lambda: server.sensors() == ["good"] * 36)
    until(lambda: len(bench.dead()) == 4)
    letters = bench.dead()
    assert [letter["payload"] for letter in letters] == ["message 0", "message 17", "message 18", "message 39"]
    assert {letter["topic"] for letter in letters} == {"pinloop/pot/readings"}
    assert all("parse" in letter["reason"] or "conflict" in letter["reason"] or "column" in letter["reason"]
               for letter in letters)  # fmt: skip
    assert all(letter["at"] and letter["line"].startswith("readings,device=pot ") for letter in letters)
    until(lambda: delivery.problem() is None)


def test_points_that_are_all_refused_cost_one_write(bench: Bench) -> None:
    """The answer says how many were dropped: after a retention period was shortened, that is all of them."""
    with standing_in("2.x") as server:
        bench.start(influx(server)).deliver(batch(*[point(n, "conflict") for n in range(64)]))
        assert len(bench.dead()) == 64
        assert len(server.writes) == 1


def test_a_body_that_is_too_large_is_halved(server: StandIn, bench: Bench) -> None:
    """413: the lines are good, only too many at once."""
    server.most_lines = 10
    bench.start(influx(server)).deliver(batch(*[point(n) for n in range(70)]))
    assert len(server.lines) == 70
    assert bench.dead() == []


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 502, 503, 504])
def test_what_says_nothing_of_the_lines_holds_them(bench: Bench, status: int) -> None:
    """The operator mends a token, the server wakes up: the points are stored then, none is a dead letter."""
    with standing_in("2.x") as server:
        delivery = bench.start(influx(server))
        server.next.extend([(status, {})] * 3)
        delivery.deliver(batch(point(1), point(2)))
        assert str(status) in (delivery.problem() or "")
        assert figure("listener_store_up", store="main") == 0
        until(lambda: len(server.lines) == 2)
        until(lambda: delivery.problem() is None)
        assert figure("listener_store_up", store="main") == 1
        assert bench.dead() == []


def test_a_server_that_asks_for_time_gets_it(bench: Bench) -> None:
    """Retry-After in seconds: no write comes earlier."""
    with standing_in("2.x") as server:
        delivery = bench.start(influx(server))
        server.next.append((429, {}))
        server.next.append((503, {"Retry-After": "1"}))
        delivery.deliver(batch(point(1)))
        until(lambda: len(server.writes) == 2)
        asked_s = time.monotonic()
        until(lambda: len(server.lines) == 1)
        assert time.monotonic() - asked_s > 0.9


def test_waiting_times_grow_and_differ() -> None:
    """Many listeners that lost one store do not come back all at once; what a server asks for is kept, up to 60 s."""
    first, second = ([backoff.next_s() for _ in range(12)] for backoff in (Backoff(), Backoff()))
    assert first != second
    assert 0.05 <= first[0] <= 0.1
    assert all(2.5 <= wait_s <= 5 for wait_s in first[-5:])
    assert Backoff().next_s(7) == 7
    assert Backoff().next_s(3600) == 60


def test_a_store_that_hangs_costs_its_timeout_and_then_nobody_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch meets the time-out; those after it go to the spool at once."""
    monkeypatch.setattr("store.influx._TIMEOUT_S", 0.3)
    with standing_in("3 Core") as server:
        delivery = bench.start(influx(server))
        server.go_on.clear()
        delivery.deliver(batch(point(0)))
        started_s = time.monotonic()
        for n in range(1, 50):
            delivery.deliver(batch(point(n)))
        assert time.monotonic() - started_s < 2
        server.go_on.set()
        until(lambda: len(server.lines) == 50)


# The spool


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
    assert set(after.news()) == {("pot", "k3f9", n, "pot") for n in (1, 2, 3)}
    assert list(after.news()) == []


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


# Second stores


def test_second_stores_get_everything_too(bench: Bench, tmp_path: Path) -> None:
    """SQLite, InfluxDB and JSON lines beside the main one."""
    reader, writer = os.pipe()
    main = Memory()
    copy = SqliteStore(tmp_path / "copy.db")
    with standing_in("3 Core") as server:
        delivery = bench.start(main, {"copy": copy, "cloud": influx(server), "out": JsonLinesSink(writer)})
        for n in range(30):
            delivery.deliver(batch(point(n)))
        assert main.order == list(range(30))
        until(lambda: len(server.lines) == 30)
        until(lambda: len(list(copy.identities(100))) == 30)
        os.close(writer)
        with os.fdopen(reader) as lines:
            said = [json.loads(line) for line in lines]
    assert [one["fields"]["n"] for one in said] == list(range(30))
    assert said[0] == {
        "measurement": "readings",
        "tags": {"device": "pot"},
        "fields": {"pot": 1.0, "n": 0, "boot": "k3f9"},
        "ts_ns": T_NS,
    }
    assert sorted(main.order) == list(range(30))  # none of them a second time by its own thread


def test_a_second_store_that_hangs_or_is_dead_holds_nobody_back(bench: Bench) -> None:
    """Each has its own place in the spool; when they work again they get what they missed."""
    main, hangs, dead, fine = Memory(), Memory(), Memory(), Memory()
    hangs.go_on.clear()
    dead.fails = DOWN
    delivery = bench.start(main, {"hangs": hangs, "dead": dead, "fine": fine})
    for n in range(100):
        delivery.deliver(batch(point(n)))
    assert main.order == list(range(100))
    until(lambda: fine.order == list(range(100)))
    assert delivery.problem() is None
    assert figure("listener_store_up", store="dead") == 0
    assert figure("listener_spool_behind_bytes", store="dead") > 0
    hangs.go_on.set()
    dead.fails = None
    until(lambda: hangs.order == dead.order == list(range(100)))


def test_second_stores_go_on_where_they_were_after_a_restart(bench: Bench) -> None:
    """Also one that never had worked; the main store is not written twice."""
    main, late = Memory(), Memory()
    late.fails = DOWN
    first = bench.start(main, {"late": late})
    first.deliver(batch(point(1)))
    first.close()
    late.fails = None
    second = bench.start(main, {"late": late})
    second.deliver(batch(point(2)))
    until(lambda: late.order == [1, 2])
    assert main.order == [1, 2]


def test_the_main_store_may_fail_while_second_ones_work(bench: Bench) -> None:
    """And gets its part of the spool, no more, when it works again."""
    main, other = Memory(), Memory()
    delivery = bench.start(main, {"other": other})
    delivery.deliver(batch(point(1)))
    main.fails = DOWN
    delivery.deliver(batch(point(2)))
    delivery.deliver(batch(point(3)))
    until(lambda: other.order == [1, 2, 3])
    main.fails = None
    until(lambda: main.order == [1, 2, 3])
    delivery.deliver(batch(point(4)))
    until(lambda: other.order == [1, 2, 3, 4])
    assert main.order == [1, 2, 3, 4]


def test_without_a_spool_second_stores_miss_points_and_the_main_one_does_not(bench: Bench) -> None:
    """Counted; nothing is held."""
    main, other = Memory(), Memory()
    delivery = bench.start(main, {"other": other})
    bench.spool_path.joinpath("other.cursor").unlink()
    bench.spool_path.rmdir()
    bench.spool_path.write_text("in the way")
    before = figure("listener_spool_dropped_points_total", store="other", reason="unwritable")
    delivery.deliver(batch(point(1), point(2)))
    assert main.order == [1, 2]
    assert figure("listener_spool_dropped_points_total", store="other", reason="unwritable") == before + 2
    assert delivery.held() is None


def test_a_second_store_refuses_for_itself(bench: Bench) -> None:
    """The letter says whose it is; the main store has the point."""
    main = Memory()
    with standing_in("2.x") as server:
        delivery = bench.start(main, {"cloud": influx(server)})
        delivery.deliver(batch(point(1, "bad"), point(2, "good")))
        until(lambda: server.sensors() == ["good"])
        until(lambda: [letter["by"] for letter in bench.dead()] == ["cloud"])
    assert len(main.order) == 2


def test_a_bug_in_a_second_store_is_logged_and_holds_nobody_back(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is tried again and again; the others go on."""
    main, broken = Memory(), Memory()
    whole: Callable[..., None] = broken.write
    broken.write = lambda points: 1 / 0  # type: ignore[method-assign,assignment]
    delivery = bench.start(main, {"broken": broken})
    delivery.deliver(batch(point(1)))
    assert main.order == [1]
    until(lambda: "ZeroDivisionError" in capsys.readouterr().out)
    broken.write = whole  # type: ignore[method-assign]
    until(lambda: broken.order == [1])

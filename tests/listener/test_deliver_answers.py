"""What stores answer, and what becomes of the points then; each generation of InfluxDB is stood in for."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from listener.backoff import Backoff
from store import Point, StoreError
from tests.support.deliveries import DOWN, Bench, Memory, batch, benched, figure, influx, point
from tests.support.influx_standin import KINDS, StandIn, standing_in
from tests.support.wait import until


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose deliveries have ended when the test has."""
    yield from benched(tmp_path, monkeypatch)


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    """A stand-in for each generation of InfluxDB."""
    with standing_in(request.param) as running:
        yield running


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
    monkeypatch.setattr("store.influx._WRITE_S", 0.3)
    monkeypatch.setattr("store.http._LOOK_S", 0.02)
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


@pytest.mark.parametrize("size", [100, 1], ids=["in one record", "in many"])
def test_a_store_that_is_too_slow_for_a_backlog_gets_it_in_smaller_parts(bench: Bench, size: int) -> None:
    """It takes some points within its time-out, never all: the backlog, and what is live with it, waited for ever."""

    class Slow(Memory):
        def write(self, points: Sequence[Point]) -> None:
            if len(points) > 7:
                raise StoreError("takes longer than 10 s")
            super().write(points)

    store = Slow()
    store.fails = DOWN
    delivery = bench.start(store)
    for start in range(0, 200, size):
        delivery.deliver(batch(*[point(n) for n in range(start, start + size)]))
    store.fails = None
    until(lambda: len(store.points) == 200 and delivery.problem() is None)
    delivery.deliver(batch(point(200)))
    assert store.order[-1] == 200
    until(lambda: figure("listener_spool_behind_bytes", store="main") == 0)

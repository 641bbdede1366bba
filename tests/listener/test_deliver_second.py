"""Stores beside the main one: each at its own pace, none holds another back."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from listener.dead import DeadLetters
from listener.follower import Follower
from listener.spool import Spool
from listener.spool_record import encode
from service import logs
from store.json_lines import JsonLinesSink
from store.sqlite import SqliteStore
from tests.support.deliveries import DOWN, T_NS, Bench, Memory, batch, benched, figure, influx, point
from tests.support.influx_standin import standing_in
from tests.support.wait import until


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose deliveries have ended when the test has."""
    yield from benched(tmp_path, monkeypatch)


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


def test_a_second_store_that_is_dead_fills_a_disk_and_stops_nothing(small_disk: Path, bench: Bench) -> None:
    """Neither while the main store works nor when it fails then: there is room for what it lacks."""
    bench.spool_path = small_disk / "spool"
    main, dead = Memory(), Memory()
    dead.fails = DOWN
    delivery = bench.start(main, {"dead": dead}, max_bytes=4 << 20)
    labels = {"name": "listener_spool_dropped_points_total", "store": "dead"}
    before, unwritable = figure(**labels, reason="disk"), figure(**labels, reason="unwritable")
    for n in range(150):
        delivery.deliver(batch(point(n, value=os.urandom(10_000).hex())))
    assert main.order == list(range(150))
    assert figure(**labels, reason="disk") > before
    assert figure(**labels, reason="unwritable") == unwritable
    main.fails = DOWN
    for n in range(150, 180):
        delivery.deliver(batch(point(n, value=os.urandom(10_000).hex())))
    assert delivery.held() is None
    main.fails = None
    until(lambda: main.order == list(range(180)))


def test_what_the_main_store_has_is_passed_while_its_thread_passes_too(tmp_path: Path) -> None:
    """Both threads at once, again and again: no part is forgotten, so the spool is read to its end and deleted."""
    spool = Spool(tmp_path / "spool", 1 << 22, 3600)
    spool.add_reader("main", required=True, from_start=True)
    main = Memory()
    follower = Follower("main", main, spool, DeadLetters(tmp_path / "dead"), batch_max_points=100)
    follower.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for n in range(2000):
            follower.leave(spool.end)
            start = spool.end
            follower.has(start, spool.append(encode(batch(point(n))), 1))
            follower.leave(None)
        assert spool.behind_bytes("main") == 0
        assert main.order == []
    finally:
        sys.setswitchinterval(before)
        follower.stop()
        spool.stop_waiting()
        follower.join(5)


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


def test_a_bug_in_a_second_store_is_logged_and_holds_nobody_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again and again; the others go on."""
    log = Mock()
    monkeypatch.setattr(logs, "get", lambda _part="": log)
    main, broken = Memory(), Memory()
    whole: Callable[..., None] = broken.write
    broken.write = lambda points: 1 / 0  # type: ignore[method-assign,assignment]
    delivery = bench.start(main, {"broken": broken})
    delivery.deliver(batch(point(1)))
    assert main.order == [1]
    until(lambda: log.exception.called)
    assert log.exception.call_args.kwargs == {"store": "broken"}
    broken.write = whole  # type: ignore[method-assign]
    until(lambda: broken.order == [1])


def test_what_is_being_written_to_the_main_store_is_not_written_by_its_thread_too(bench: Bench) -> None:
    """Although it is in the spool, for the others, and the write takes long."""
    main, other = Memory(), Memory()
    delivery = bench.start(main, {"other": other})
    main.go_on.clear()
    writing = threading.Thread(target=delivery.deliver, args=(batch(point(1)),))
    writing.start()
    until(lambda: other.order == [1])
    main.go_on.set()
    writing.join(5)
    delivery.deliver(batch(point(2)))
    until(lambda: other.order == [1, 2])
    assert main.order == [1, 2]

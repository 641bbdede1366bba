"""The reconciler's clock and its renewals; without threads."""

import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import webhook.clock
from contract.topics import Topics
from tests.webhook.desk import NOW_S, notice, open_desk
from tests.webhook.world import World, simulated
from webhook import reconcile
from webhook.arbiter import PERSON, Claim
from webhook.claims import Claims
from webhook.commands import Commands
from webhook.database import Database
from webhook.observed import Observed
from webhook.publisher import NEW, RECONCILED, RENEWED
from webhook.reconcile import Reconciler, renewals_per_tick


def test_a_clock_that_is_set_moves_what_is_stored_by_as_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slewing by milliseconds moves nothing; a step of an hour does, once."""
    database = Database(tmp_path / "claims.db")
    commands = Commands(database, 300)
    claims = Claims(database, commands, lambda _pin: 0, {}, 300)
    wall, mono = [1000.0], [0.0]
    clock = SimpleNamespace(time=lambda: wall[0], monotonic=lambda: mono[0])
    for module in (reconcile, webhook.clock):
        monkeypatch.setattr(module, "time", clock)
    nobody: Any = SimpleNamespace()
    observed = Observed(Topics(), lambda _device: None)
    watcher = Reconciler(database, claims, commands, nobody, observed, lambda: False, 30, 30)
    claims.hold(Claim("lights", "red", PERSON, 1, "manual", "anna", 1000.0, 1600.0), 1000.0)
    for wall[0], mono[0], until_s in ((1000.25, 0.2, 1600.0), (4600.4, 0.4, 5200.0), (4600.6, 0.6, 5200.0)):
        watcher._follow_clock()
        assert claims.of(("lights", "red"))[0].until_s == pytest.approx(until_s, abs=0.1)
    database.close()


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no clock that counts its sleep")
def test_a_computer_that_has_slept_has_not_had_its_clock_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim for ten minutes is over when the lid is opened an hour later; the monotonic clock stood still."""
    wall, boot = [5000.0], [500.0]
    clock = SimpleNamespace(
        time=lambda: wall[0],
        monotonic=lambda: 100.0,
        CLOCK_BOOTTIME=time.CLOCK_BOOTTIME,
        clock_gettime=lambda which: {time.CLOCK_BOOTTIME: boot[0]}[which],
    )
    for module in (reconcile, webhook.clock):
        monkeypatch.setattr(module, "time", clock)
    desk = open_desk(tmp_path / "claims.db")
    observed: Any = Observed(Topics(), lambda _device: None)
    sender: Any = SimpleNamespace(acked=deque(), carry_out=lambda decide, *_: decide())
    watcher = Reconciler(desk.database, desk.claims, desk.commands, sender, observed, lambda: False, 30, 30)
    desk.claims.hold(Claim("lights", "red", PERSON, 1, "manual", "anna", 5000.0, 5600.0), 5000.0)
    wall[0], boot[0] = 8600.0, 4100.0
    watcher._tick()
    assert desk.claims.of(("lights", "red")) == []
    desk.database.close()


def test_a_clock_that_is_set_is_noticed_by_the_running_reconciler(tmp_path: Path) -> None:
    """Before anything else of a tick: a claim must not end because of a wrong clock."""
    database = Database(tmp_path / "claims.db")
    claims = Claims(database, Commands(database, 300), lambda _pin: 0, {}, 300)
    now_s = time.time()
    claims.hold(Claim("lights", "red", PERSON, 1, "manual", "anna", now_s - 3600, now_s - 3000), now_s - 3600)
    sender: Any = SimpleNamespace(acked=deque(), carry_out=lambda decide, *_: decide())
    observed: Any = Observed(Topics(), lambda _device: None)
    watcher = Reconciler(database, claims, Commands(database, 300), sender, observed, lambda: False, 30, 30)
    watcher._clock_offset_s -= 3600  # an hour was added to the wall clock since
    watcher._tick()
    assert claims.of(("lights", "red"))[0].until_s == pytest.approx(now_s + 600, abs=1)
    database.close()


def test_no_lease_is_renewed_while_claims_cannot_be_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices fall back to safe by themselves: a claim that should be over must not keep its pin on."""
    desk = open_desk(tmp_path / "claims.db")
    desk.claims.notify([notice(starts_at=time.time())], time.time() - 250)  # its lease of 300 s is due
    renewed: list[str] = []
    sender: Any = SimpleNamespace(
        acked=deque(), carry_out=lambda decide, reason=NEW: decide() and renewed.append(reason)
    )
    observed = Observed(Topics(), lambda _device: None)
    watcher = Reconciler(desk.database, desk.claims, desk.commands, sender, observed, lambda: True, 30, 30)
    with monkeypatch.context() as patch:
        patch.setattr(desk.claims, "expire", lambda _now_s: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            watcher._tick()
    assert renewed == []
    watcher._tick()
    assert renewed == [RENEWED]
    desk.database.close()


def test_no_lease_is_renewed_before_the_broker_was_heard_out(tmp_path: Path) -> None:
    """A second webhook with a copy of the database has found out by then that it is one; it has sent nothing."""
    desk = open_desk(tmp_path / "claims.db")
    desk.claims.notify([notice(starts_at=time.time())], time.time() - 250)
    renewed: list[str] = []
    sender: Any = SimpleNamespace(
        acked=deque(), carry_out=lambda decide, reason=NEW: decide() and renewed.append(reason)
    )
    observed = Observed(Topics(), lambda _device: None)
    watcher = Reconciler(desk.database, desk.claims, desk.commands, sender, observed, lambda: True, 30, 30)
    watcher.connection_stands()
    watcher.info_came("lights")
    watcher._tick()
    assert renewed == []
    observed.last_retained_s -= 1  # nothing was retained for a while
    watcher._tick()
    assert renewed[0] == RECONCILED
    desk.database.close()


def test_the_leases_of_many_pins_are_renewed_at_a_bounded_and_even_rate(tmp_path: Path) -> None:
    """Of 2000 leases that began together none is late, and no second has more than twice its share."""
    pins, ttl_s, tick_s = 2000, 60, 0.2
    even_per_s = pins / (ttl_s / 3)
    database = Database(tmp_path / "claims.db")
    database.connection.execute("PRAGMA synchronous = OFF")  # the rate, not the disk
    commands = Commands(database, ttl_s)
    claims = Claims(database, commands, lambda _pin: 0, {}, 86400)
    now_s = NOW_S
    targets = [f"d{number // 64}/p{number % 64}=1" for number in range(pins)]
    said = [
        notice(starts_at=now_s, fingerprint=f"f{first}", actuate=",".join(targets[first : first + 64]))
        for first in range(0, pins, 64)
    ]
    assert len(claims.notify(said, now_s)[1]) == pins
    per_s: list[int] = []
    for _ in range(60):
        per_s.append(0)
        for _ in range(5):
            now_s += tick_s
            due = commands.due(now_s, renewals_per_tick(pins, ttl_s))
            per_s[-1] += len(claims.reissue(due, now_s)) if due else 0
    assert max(per_s) <= 2 * even_per_s
    assert min(per_s[30:]) >= 0.5 * even_per_s
    assert min(command.at_s for command in commands.all().values()) >= now_s - ttl_s / 2
    database.close()


def test_every_pin_has_its_turn_however_long_a_look_takes(tmp_path: Path) -> None:
    """Each tick takes five times as long as it should: a round goes on where it was, and reaches the last pin."""
    names = [f"p{number:02}" for number in range(50)]
    pins: dict[str, dict[str, dict[str, Any]]] = {f"b{board}": {name: {} for name in names} for board in range(8)}
    with simulated() as clock:
        world = World(clock, tmp_path, pins, {}, lambda: None, lambda *_: None, lambda: None)
        world.start()
        world.advance(3)
        webhook = world.webhook
        assert webhook is not None
        said = {board: ",".join(f"{board}/{name}=1" for name in names) for board in pins}
        start_s = clock.time()
        for board, actuate in said.items():
            webhook.publisher.send(webhook.claims.notify([notice("firing", start_s, board, actuate)], start_s)[1])
        world.advance(2)
        assert world.level == dict.fromkeys(world.level, 1)
        for board, actuate in said.items():  # committed, and lost on its way: nothing renews a release
            webhook.claims.notify([notice("resolved", start_s, board, actuate)], clock.time())
        world.advance(45)
        assert world.level == dict.fromkeys(world.level, 0)
        world.kill()

"""What the reconciler compares; pure."""

import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.topics import Topics
from tests.webhook.desk import NOW_S, notice
from webhook import reconcile
from webhook.arbiter import PERSON, Claim
from webhook.claims import Claims
from webhook.commands import Commands, PinCommand
from webhook.database import Database
from webhook.observed import Observed, Reported
from webhook.publisher import payload_of
from webhook.reconcile import Reconciler, renewals_per_tick
from webhook.survey import drift_since_s, missing

ON = PinCommand("lights", "red", 1, "alert", "a", seq=10, ttl_s=300, changed_s=100.0, at_s=200.0)
RELEASED = PinCommand("lights", "red", None, "", "", seq=11, ttl_s=300, changed_s=300.0, at_s=300.0)
PAYLOAD = payload_of(ON, "e")
DEFAULT = 0


def said(value: float, seq: int, why: str) -> Reported:
    return Reported(value, seq, why, at_s=400.0, since_s=350.0)


@pytest.mark.parametrize(
    ("command", "retained", "reported", "online", "where"),
    [
        (ON, PAYLOAD, said(1, 10, "command"), True, ""),
        (ON, b"", said(1, 10, "command"), True, "broker"),
        (ON, PAYLOAD, said(1, 9, "command"), True, "device"),
        (ON, PAYLOAD, None, True, "device"),
        (ON, PAYLOAD, None, False, ""),
        (RELEASED, b"", said(0, 10, "released"), True, ""),
        (RELEASED, b"", said(1, 10, "command"), True, "device"),
        (ON, PAYLOAD, said(0, 10, "link-lost"), True, "device"),
        (ON, PAYLOAD, said(0, 10, "expired"), True, "device"),
        (ON, PAYLOAD, said(0, 10, "guard"), True, ""),
        (RELEASED, PAYLOAD, None, True, "broker"),
        (None, b"", said(0, 0, "boot"), True, ""),
        (None, b"", said(1, 3, "command"), True, "device"),
        (None, b"", said(1, 0, "local"), True, ""),
        (None, b"", said(1, 0, "boot"), True, "device"),
        (RELEASED, b"", said(1, 10, "link-lost"), True, "device"),
        (RELEASED, b"", said(1, 10, "link-lost"), False, ""),
        (None, PAYLOAD, None, False, "broker"),
    ],
)
def test_a_command_is_missing_where_it_differs(
    command: PinCommand | None, retained: bytes, reported: Reported | None, online: bool, where: str
) -> None:
    """At the broker first; at a device only while it is there, and also when it left what it had followed."""
    expected = payload_of(command, "e") if command else b""
    assert missing(command, expected, retained, reported, online, DEFAULT) == where


def test_a_clock_that_is_set_moves_what_is_stored_by_as_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slewing by milliseconds moves nothing; a step of an hour does, once."""
    database = Database(tmp_path / "claims.db")
    commands = Commands(database, 300)
    claims = Claims(database, commands, lambda _pin: 0, {}, 300)
    wall, mono = [1000.0], [0.0]
    clock = SimpleNamespace(time=lambda: wall[0], monotonic=lambda: mono[0])
    monkeypatch.setattr(reconcile, "time", clock)
    nobody: Any = SimpleNamespace()
    observed = Observed(Topics(), lambda _device: None)
    watcher = Reconciler(database, claims, commands, nobody, observed, lambda: False, 30, 30)
    claims.hold(Claim("lights", "red", PERSON, 1, "manual", "anna", 1000.0, 1600.0), 1000.0)
    for wall[0], mono[0], until_s in ((1000.25, 0.2, 1600.0), (4600.4, 0.4, 5200.0), (4600.6, 0.6, 5200.0)):
        watcher._follow_clock()
        assert claims.of(("lights", "red"))[0].until_s == pytest.approx(until_s, abs=0.1)
    database.close()


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


@pytest.mark.parametrize(
    ("command", "reported", "since_s"),
    [
        (None, said(1, 3, "local"), None),
        (ON, said(1, 10, "command"), None),
        (ON, said(0, 10, "guard"), 350.0),
        (ON, None, 100.0),
        (RELEASED, said(1, 10, "released"), None),
        (RELEASED, said(1, 10, "command"), 300.0),
        (RELEASED, None, None),
    ],
)
def test_drift_begins_when_the_later_of_wish_and_report_began(
    command: PinCommand | None, reported: Reported | None, since_s: float | None
) -> None:
    """A pin that is released may be what its device wants."""
    assert drift_since_s(command, reported) == since_s

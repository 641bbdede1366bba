"""What a survey compares, and that it does so page by page; pure, with a database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.topics import Topics
from tests.webhook.desk import NOW_S, Desk, notice, open_desk
from webhook import metrics
from webhook.commands import Pin, PinCommand
from webhook.observed import Observed, Reported
from webhook.publisher import payload_of
from webhook.reconcile import Reconciler
from webhook.survey import PAGE, Survey, drift_since_s, missing

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


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = open_desk(tmp_path / "claims.db")
    one.database.connection.execute("PRAGMA synchronous = OFF")  # what is compared, not the disk
    yield one
    one.database.close()


def commanded(desk: Desk, pins: list[Pin]) -> None:
    for first in range(0, len(pins), 64):
        wanted = ",".join(f"{device}/{name}=1" for device, name in pins[first : first + 64])
        desk.claims.notify([notice(fingerprint=f"f{pins[first]}", actuate=wanted)], NOW_S)


def surveyed(desk: Desk, observed: Observed) -> Survey:
    return Survey(desk.database, desk.commands, observed, 30, 30, lambda _pin: False)


def pins_of(many: int) -> list[Pin]:
    return [(f"d{number // 8:03}", f"p{number % 8}") for number in range(many)]


def test_a_round_looks_at_each_pin_once_whoever_tells_of_it(desk: Desk) -> None:
    """At those with a command, those at which the broker holds one, and those that only a device reports."""
    observed = Observed(Topics(), lambda _device: None)
    pins = pins_of(3 * PAGE + 7)
    commanded(desk, pins)
    for pin in pins[::2]:
        observed.retained[pin] = b"what the broker holds"
    observed.retained["old", "p"] = b"of a pin that was never ours"
    observed.reported["own", "p"] = said(1, 3, "command")
    survey = surveyed(desk, observed)
    assert survey.begin() >= 4
    again: list[Pin] = []
    while found := survey.look(NOW_S + 60, at_once=True):
        assert len(found.again) <= PAGE
        again += found.again
    assert sorted(again) == sorted([*pins, ("old", "p")])  # the other's device is not online
    assert survey.live == len(pins)
    assert metrics.CLAIMS.labels("alert")._value.get() == len(pins)
    assert survey.look(NOW_S + 60, at_once=True) is None


def test_a_pin_that_gets_its_first_command_behind_the_cursor_is_compared_with_it(desk: Desk) -> None:
    """It is reported by then, and would pass for one that nobody commands."""
    observed = Observed(Topics(), lambda _device: None)
    commanded(desk, [("z", "p")])
    survey = surveyed(desk, observed)
    survey.begin()
    assert survey.look(NOW_S, at_once=False) is not None
    commanded(desk, [("a", "p")])
    command = desk.commands.of(("a", "p"))
    assert command is not None
    observed.status["a"] = "online"
    observed.retained["a", "p"] = payload_of(command, desk.database.epoch)
    observed.reported["a", "p"] = said(1, command.seq, "command")
    found = survey.look(NOW_S, at_once=True)
    assert found is not None
    assert found.again == []


class Connection:
    """Takes what the reconciler sends again."""

    def __init__(self) -> None:
        self.acked: Any = []
        self.per_tick: list[list[PinCommand]] = []

    def carry_out(self, decide: Any, *_reason: str) -> None:
        self.per_tick[-1] += decide()


def test_what_the_broker_lost_is_sent_at_once_after_a_connect_and_otherwise_a_share_each_tick(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alert waits for a page, not for a thousand pins; and no pin waits for more than a round."""
    monkeypatch.setattr("webhook.reconcile._REST_S", 0)
    observed = Observed(Topics(), lambda _device: None)
    pins = pins_of(1000)
    commanded(desk, pins)
    connection: Any = Connection()
    watcher = Reconciler(desk.database, desk.claims, desk.commands, connection, observed, lambda: True, 30, 30)
    watcher.connection_stands()
    observed.last_retained_s = 0.0
    connection.per_tick.append([])
    watcher._look(NOW_S + 60)
    assert len(connection.per_tick[0]) == len(pins)
    watcher._next_survey = 0.0
    for tick in range(1, 26):  # 5 s of them
        connection.per_tick.append([])
        watcher._look(NOW_S + 120)
        assert len(connection.per_tick[tick]) <= PAGE
    assert sum(map(len, connection.per_tick[1:])) == len(pins)

"""What the reconciler compares; pure."""

import pytest

from webhook.commands import PinCommand
from webhook.observed import Reported
from webhook.publisher import payload_of
from webhook.reconcile import drift_since_s, missing

ON = PinCommand("lights", "red", 1, "alert", "a", seq=10, ttl_s=300, changed_s=100.0, at_s=200.0)
RELEASED = PinCommand("lights", "red", None, "", "", seq=11, ttl_s=300, changed_s=300.0, at_s=300.0)
PAYLOAD = payload_of(ON, "e")


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
        (RELEASED, PAYLOAD, None, True, "broker"),
        (None, b"", said(0, 0, "boot"), True, ""),
        (None, b"", said(1, 3, "command"), True, "device"),
        (None, b"", said(1, 0, "local"), True, ""),
        (None, PAYLOAD, None, False, "broker"),
    ],
)
def test_a_command_is_missing_where_it_differs(
    command: PinCommand | None, retained: bytes, reported: Reported | None, online: bool, where: str
) -> None:
    """At the broker first; at a device only while it is there."""
    expected = payload_of(command, "e") if command else b""
    assert missing(command, expected, retained, reported, online) == where


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

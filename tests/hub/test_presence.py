"""What a pin is thought to be when its device cannot be asked, and how the command says it."""

from typing import Any

import pytest

from hub.presence import FOREIGN, presence
from pinloop.pin_rows import row
from webhook.foreign.load import KINDS

BEGAN_S, NOW_S = 1_000_000.0, 1_000_500.0
ON = {"value": 1, "seq": 7, "why": "command", "at_s": NOW_S - 300}


def device(status: str = "offline", since_s: float | None = NOW_S - 10, **declared: Any) -> dict[str, Any]:
    """Return a device of ours, with one pin."""
    return {"status": status, "since_s": since_s, "info": {"fw": "0.1.0", "pins": {"red": {"safe": 0, **declared}}}}


def known(of: dict[str, Any] | None, reported: dict[str, Any] | None = ON, *, heard: bool = True) -> dict[str, Any]:
    """Return what is known of the pin red."""
    return presence("red", reported, of, began_s=BEGAN_S, heard=heard, now_s=NOW_S)


def listed(of: dict[str, Any] | None, reported: dict[str, Any] | None = ON) -> tuple[str, str]:
    """Return what `pinloop pin list` shows as reported, and its note."""
    pin = {"device": "lights", "pin": "red", "desired": None, "drift_s": None, "held": None, "dry_run": False}
    cells = row({**pin, "quarantine": None, "reported": reported, **known(of, reported)})
    return cells[2], cells[7]


def test_a_report_of_a_device_that_is_there_holds_now() -> None:
    """Unless the hub itself is cut off from the broker: nobody knows then whether it is there."""
    assert known(device("online"))["current"] is True
    assert known(device("online"), heard=False)["current"] is False
    assert known(device("online"), None)["current"] is False
    assert listed(device("online")) == ("1", "-")
    assert listed(device("online"), None) == ("-", "nothing reported yet")
    assert listed(device(since_s=None), None) == ("-", "offline (since before the hub started): nothing reported")


def test_a_device_that_is_away_sets_its_safe_value_by_itself() -> None:
    """`link_lost_s` after its link was lost, which is no later than the broker's word that it is offline."""
    young = known(device(since_s=NOW_S - 59))["believed"]
    assert (young["value"], young["until_s"]) == (1, NOW_S + 1)
    assert known(device(since_s=NOW_S - 60))["believed"]["value"] == 0
    assert known(device(since_s=NOW_S - 60, link_lost_s=90))["believed"]["value"] == 1
    assert known(device(since_s=NOW_S - 60, safe=2))["believed"]["value"] == 2
    reported, note = listed(device(since_s=NOW_S - 400))
    assert reported == "was 1"
    assert "thought to be 0, without its link it sets its safe value" in note


def test_one_that_was_away_when_the_hub_began_to_listen_has_been_away_for_at_least_so_long() -> None:
    """Nobody knows for how much longer."""
    assert known(device(since_s=None))["believed"]["value"] == 0
    just_begun = presence("red", ON, device(since_s=None), began_s=NOW_S - 5, heard=True, now_s=NOW_S)
    assert just_begun["believed"]["until_s"] == NOW_S + 55


@pytest.mark.parametrize("firmware", KINDS)
def test_other_firmware_stays_as_it_is(firmware: str) -> None:
    """It knows no lease; the hub's list of its kinds is the webhook's."""
    plug = device(since_s=NOW_S - 400)
    plug["info"]["fw"] = firmware
    assert firmware in FOREIGN
    assert known(plug)["believed"]["value"] == 1
    assert "other firmware stays as it is" in listed(plug)[1]


def test_a_pin_that_holds_keeps_its_value() -> None:
    """A heater's frost guard, say."""
    assert known(device(since_s=NOW_S - 400, hold=True))["believed"]["value"] == 1


def test_a_sleeping_device_is_not_thought_about() -> None:
    """Its pins are the last known; what it does asleep is its own."""
    assert known(device("sleeping"))["believed"] is None
    assert listed(device("sleeping"))[1].endswith(": last known")


def test_a_pin_that_its_device_declares_no_more_says_how_it_goes() -> None:
    """Its report is retained; without one there is nothing to clear."""
    other = device("online")
    other["info"]["pins"] = {"green": {}}
    assert known(other)["declared"] is False
    assert "pinloop pin forget" in listed(other)[1]
    assert listed(other, None)[1] == "its device does not declare it"
    assert listed(None, None)[1] == "its device has not been seen"

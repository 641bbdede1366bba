"""What the doctor says of devices and pins, by what the console answers."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pinloop.doctor import devices
from pinloop.doctor.ask import Answer
from pinloop.doctor.findings import Finding
from pinloop.doctor.target import Target
from service.settings import MqttSettings
from store import StoreSettings

NOW_S = 1_763_700_000.0
Examine = Callable[..., dict[str, Finding]]


def pin(**facts: Any) -> dict[str, Any]:
    """Return a pin as GET /api/pins shows it: claimed, and what it should be."""
    return {
        "device": "pump", "pin": "main", "desired": {"value": 1}, "drift_s": None, "held": None,
        "reported": {"value": 1, "why": "command"}, **facts,
    }  # fmt: skip


def device(**facts: Any) -> dict[str, Any]:
    """Return a device as GET /api/devices shows it."""
    return {"device": "pump", "status": "online", "since_s": None, "readings": {}, "info": {"fw": "0.1.0"}, **facts}


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch) -> Examine:
    """Return what examines a console that knows these devices and pins."""

    def look(*pins: dict[str, Any], known: tuple[dict[str, Any], ...] = (device(),)) -> dict[str, Finding]:
        body = {"/api/devices": {"devices": known, "now_s": NOW_S}, "/api/pins": {"pins": pins}}
        monkeypatch.setattr(devices, "ask", lambda url, **_: Answer(200, json.dumps(body[url[len("http://hub") :]]), 0))
        target = Target("stack", MqttSettings(), {"hub": "http://hub"}, {"console": "x"}, {}, StoreSettings())
        return {one.check: one for one in devices.check_devices(target)}

    return look


def test_a_wish_that_a_guard_of_the_webhook_holds_back_is_named_with_its_end(examine: Examine) -> None:
    """Nothing is broken then, and the device has no part in it: it was told nothing else."""
    held = {"by": "min_off_s", "wanted": 1, "slot": "manual", "source": "anna", "until_s": NOW_S + 60}
    found = examine(pin(held=held, reported={"value": 0, "why": "command"}))
    assert found["pins"].level == found["pins held"].level == "ok"
    assert "pump/main: 1 of anna waits for min_off_s until " in found["pins held"].saw


def test_a_guard_that_is_no_matter_of_time_has_no_end(examine: Examine) -> None:
    """`max_on_s` waits until nobody wants it on any more."""
    held = {"by": "max_on_s", "wanted": None, "slot": "", "source": "", "until_s": None}
    assert examine(pin(held=held))["pins held"].saw.endswith("pump/main: the release waits for max_on_s.")


def test_a_pin_that_its_own_guard_holds_is_told_from_one_that_does_not_follow(examine: Examine) -> None:
    """The device says why it is what it is; only then its guards are to be looked at."""
    guarded = examine(pin(drift_s=40, reported={"value": 0, "why": "guard"}))["pins"]
    stuck = examine(pin(drift_s=40, reported={"value": 0, "why": "local"}))["pins"]
    silent = examine(pin(drift_s=40, reported=None))["pins"]
    assert {guarded.level, stuck.level, silent.level} == {"broken"}
    assert "guard on the device" in guarded.do
    assert "guard" not in stuck.do + silent.do
    assert "(reported: local)" in stuck.saw
    assert "(nothing reported)" in silent.saw


def test_a_device_is_silent_when_its_readings_are_older_than_they_may_be(examine: Examine) -> None:
    """Each reading says how long it is current: five minutes are nothing for a plug, a lot for a board of ours."""
    plug = device(device="plug", readings={"power": {"t_s": NOW_S - 300, "stale_s": 1000}})
    board = device(device="board", readings={"pot": {"t_s": NOW_S - 300, "stale_s": 60}})
    found = examine(known=(plug, board))
    assert "board (last reading 5 min ago)" in found["devices silent"].saw
    assert "plug" not in found["devices silent"].saw
    assert "stale_devices" in found["devices silent"].do


def test_other_firmware_that_is_away_is_not_said_to_be_safe(examine: Examine) -> None:
    """It has no lease: a plug without Wi-Fi stays on."""
    plug = device(device="plug", status="offline", info={"fw": "tasmota"})
    away = examine(known=(plug, device(status="offline")))["devices away"].saw
    assert "pins of other firmware stay as they are (plug), others go to the safe value" in away
    assert "stay as they are" not in examine(known=(device(status="offline"),))["devices away"].saw


def test_a_pin_of_a_device_that_was_never_heard_of_is_no_device_that_is_away(examine: Examine) -> None:
    """A name that is spelled wrong will not come back."""
    found = examine(pin(device="pmup", drift_s=40, reported=None))
    assert (found["pins wanted"].level, "pins" in found) == ("warning", False)
    assert "pmup/main, whose device was never heard of" in found["pins wanted"].saw
    assert "pins wanted" not in examine(pin(drift_s=40), known=(device(status="offline"),))

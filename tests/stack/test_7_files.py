"""The owner's files on the running stack, put in force with `make apply`: routes.yml, pins.yml, inputs.toml."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stack.checks import RIGHT_WITHIN_S, until_pins
from tests.stack.compose import Stack
from tests.stack.load import Wishes
from tests.stack.plug import Plug
from tests.support.wait import until

MIN_OFF_S = 6  # of lights/green in owner/pins.yml


@pytest.fixture(scope="module")
def plug(stack: Stack, wishes: Wishes) -> Iterator[Plug]:
    """The files in force, nothing on, and the plug that routes.yml names signed in."""
    wishes.red(0)
    wishes.green(0)
    until_pins(stack, wishes.wanted)
    stack.environment.update(
        ROUTES_FILE="./tests/stack/owner/routes.yml",
        PINS_FILE="./tests/stack/owner/pins.yml",
        INPUTS_FILE="./tests/stack/owner/inputs.toml",
    )
    until(lambda: stack.make("apply", timeout_s=120) is not None, 90, "the files are taken over", every_s=0.5)
    stack.forget()
    device = Plug(stack, "kettle", stack.add_device("kettle"))
    yield device
    device.end()


def test_a_mistake_in_a_file_is_told_before_anything_changes(stack: Stack, plug: Plug, tmp_path: Path) -> None:
    """With file, line and rule; the same containers go on."""
    started = stack.inspect("webhook")["State"]["StartedAt"]
    wrong = tmp_path / "pins.yml"
    wrong.write_text("version: 1\npins:\n  lights/green:\n    min_off_s: soon\n")

    with pytest.raises(AssertionError, match=r"pins.yml:4: .*min_off_s: 'soon' is not a number"):
        stack.make("apply", PINS_FILE=str(wrong))

    assert stack.inspect("webhook")["State"]["StartedAt"] == started


def test_an_alert_that_names_no_pin_is_routed_to_one(stack: Stack, wishes: Wishes, plug: Plug) -> None:
    """By its labels: the matchers hold, and a label says which lamps."""
    wishes.alerts.fire("TooDark", room="attic", lamp="lights")
    until_pins(stack, {"red": 0, "green": 1})

    claim = stack.operate("/pins/lights/green/why")["claims"][0]
    assert claim["source"] == "TooDark"

    wishes.alerts.resolve("TooDark")
    until_pins(stack, {"red": 0, "green": 0})


def test_a_guard_holds_a_command_back_and_why_says_until_when(stack: Stack, wishes: Wishes, plug: Plug) -> None:
    """The green light was switched off a moment ago; it comes on by itself when its rest is over, not before."""
    off_s = time.time()
    wishes.alerts.fire("NoRest", "lights/green=1")

    def held() -> Any:
        return stack.operate("/pins/lights/green/why")["held"]

    hold = until(held, RIGHT_WITHIN_S, "it is held back", every_s=0.1)
    assert (hold["by"], hold["wanted"]) == ("min_off_s", 1)
    assert off_s < hold["until_s"] <= off_s + MIN_OFF_S
    assert stack.pins() == {"red": 0, "green": 0}

    until(lambda: stack.pins()["green"], hold["until_s"] - time.time() + RIGHT_WITHIN_S, "it is on", every_s=0.05)
    assert time.time() >= hold["until_s"]
    wishes.alerts.resolve("NoRest")
    until_pins(stack, {"red": 0, "green": 0})


def test_a_tasmota_plug_is_switched_by_an_alert_and_read_back(stack: Stack, wishes: Wishes, plug: Plug) -> None:
    """In its own language, with its own timer wound up; what it reports is what the webhook knows."""

    def known() -> tuple[float, float, float]:
        pin = stack.operate("/pins/kettle/power")
        return plug.on, pin["desired"]["value"] if pin["desired"] else 0, pin["reported"]["value"]

    until(lambda: stack.operate("/pins/kettle/power")["reported"] is not None, RIGHT_WITHIN_S, "it was asked")
    wishes.alerts.fire("TeaTime", "kettle/power=1")
    until(lambda: known() == (True, 1, 1), RIGHT_WITHIN_S, "the kettle is on, and known to be", every_s=0.1)
    assert ("POWER1", "ON") in plug.commands
    assert ("PulseTime1", "400") in plug.commands  # 300 s

    wishes.alerts.resolve("TeaTime")
    until(lambda: known() == (False, 0, 0), RIGHT_WITHIN_S, "the kettle is off, and known to be", every_s=0.1)


def test_readings_of_other_firmware_are_stored_under_our_names(stack: Stack, plug: Plug) -> None:
    """The plug's sensor, and a weather station that only inputs.toml understands: units and words are converted."""
    with stack.client("shed", stack.add_device("shed")) as station:
        station.publish("garden/shed/weather", '{"main": {"temp": 68, "humidity": 55}, "door": "ajar", "note": "x"}')
    plug.measure(21.5)

    def row(fields: str, device: str) -> list[Any]:
        rows = stack.query(f"SELECT {fields} FROM readings WHERE device = '{device}'")  # noqa: S608  (our own words)
        return rows[0][1:] if rows else []

    until(lambda: row("temperature, humidity, door", "shed") == [20, 55, 1], RIGHT_WITHIN_S, "the station", every_s=0.1)
    until(lambda: row("am2301_temperature", "kettle") == [21.5], RIGHT_WITHIN_S, "the plug's sensor", every_s=0.1)

"""The stack comes up with nothing edited, carries a reading and an alert to their ends, and is closed to strangers."""

import time
import urllib.error

import pytest

from tests.stack.checks import until_pins
from tests.stack.compose import Stack
from tests.stack.load import Load, Wishes
from tests.support.wait import until

SERVERS = ("mosquitto", "influxdb", "alertmanager", "listener", "webhook", "rules", "hub", "demo-pot", "demo-lights")
ONE_SHOTS = ("setup", "store-setup")
UP_WITHIN_S = 60


def test_it_is_up_in_less_than_a_minute(stack: Stack, times_s: dict[str, float]) -> None:
    """`docker compose up --wait` with the images there: every health check content, both one-shots ended well."""
    assert times_s["up"] < UP_WITHIN_S
    assert all(stack.healthy(service) for service in SERVERS)
    assert [stack.inspect(service)["State"]["ExitCode"] for service in ONE_SHOTS] == [0, 0]


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    """The same containers, started when they were, and the same secrets."""

    def picture() -> object:
        states = {service: stack.inspect(service) for service in SERVERS}
        return {name: (one["Id"], one["State"]["StartedAt"]) for name, one in states.items()}, stack.compose(
            "run", "--rm", "setup", "show"
        )

    before = picture()
    stack.compose("up", "--detach", "--wait")

    assert picture() == before


def test_a_service_reads_its_own_secrets_only(stack: Stack) -> None:
    """The volume is mounted everywhere; the user id decides."""
    assert stack.execute("listener", "cat", "/secrets/listener/mqtt_listener").strip()
    for service, path in (("listener", "webhook/operator_password"), ("hub", "owner"), ("demo-lights", "hub")):
        with pytest.raises(AssertionError, match="Permission denied"):
            stack.execute(service, "ls", f"/secrets/{path}/..", f"/secrets/{path}")


def test_strangers_are_refused(stack: Stack) -> None:
    """No anonymous device, no command without the operator's password, no console without its own."""
    with stack.client() as stranger:
        assert stranger.refused
    for port, path in (("WEBHOOK_PORT", "/pins"), ("CONSOLE_PORT", "/api/devices"), ("INFLUXDB_PORT", "/query?q=x")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            stack.http(port, path, user=("operator", "admin"))
        assert refused.value.code == 401


def test_the_virtual_devices_run_the_firmware_under_micropython(stack: Stack) -> None:
    """Not under the CPython that the image has as well."""
    for device in ("demo-pot", "demo-lights"):
        shown = stack.execute(device, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert "micropython" in shown


def test_a_reading_is_stored(stack: Stack, load: Load) -> None:
    """From the virtual potentiometer, and from the tests' own device within a second."""
    until(lambda: stack.query("SELECT count(pot) FROM readings WHERE device = 'pot'"), 10, "the pot's readings")

    load.level = 42
    began_s = time.monotonic()
    until(lambda: stack.query("SELECT level FROM readings WHERE device = 'load' AND level = 42"), 10, "the level")
    print(f"a reading is in the store after {time.monotonic() - began_s:.2f} s")


def test_an_alert_reaches_the_pin_and_its_end_releases_it(stack: Stack, wishes: Wishes) -> None:
    """Alertmanager, webhook, retained command, the device's pin; and back."""
    wishes.green(1)
    until_pins(stack, {"red": 0, "green": 1})
    with stack.client("lights", stack.secret("lights")) as reader:
        command = reader.collect("pinloop/lights/pin/green/set")
        command.until(lambda message: message.retain and b'"v":1' in message.payload)

    wishes.green(0)
    until_pins(stack, {"red": 0, "green": 0})


def test_a_rule_reaches_the_pin_and_its_end_releases_it(stack: Stack, wishes: Wishes) -> None:
    """The level above the rule's threshold, and below its second one."""
    wishes.red(1)
    until_pins(stack, {"red": 1, "green": 0})

    wishes.red(0)
    until_pins(stack, {"red": 0, "green": 0})

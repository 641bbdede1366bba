"""Every service is killed, frozen and stopped under load: no acknowledged reading is lost, every pin ends right."""

import time

import pytest

from tests.stack.checks import EXPECTED, RIGHT_WITHIN_S, recovery, until_pins
from tests.stack.compose import Stack
from tests.stack.load import Load, Wishes
from tests.stack.table import FaultTable
from tests.support.wait import until

SERVICES = ("mosquitto", "influxdb", "listener", "webhook", "rules", "alertmanager", "hub", "demo-lights")
FROZEN_S = 4.0
ALL_RIGHT_WITHIN_S = 30.0
AWAY_READINGS = 100  # what the device publishes in five seconds
AUTOSAVE_S = 10.0  # autosave_interval in mosquitto.conf
DATABASE = "/mosquitto/data/mosquitto.db"
every_service = pytest.mark.parametrize("service", SERVICES)


def forgets_alerts(stack: Stack, wishes: Wishes, service: str) -> None:
    """Alertmanager forgets what fires when it is killed, and cannot tell the end of it: so it begins with none."""
    if service == "alertmanager":
        wishes.green(0)
        until_pins(stack, wishes.wanted)


def saved(stack: Stack, load: Load) -> None:
    """Wait until the broker has written to its disk that the listener has a session: it saves every 10 s."""
    until(lambda: stack.broker_saved_at_s() > load.began_at_s, 15, "the broker saves", every_s=0.2)


@every_service
def test_a_killed_service_comes_back(stack: Stack, load: Load, wishes: Wishes, table: FaultTable, service: str) -> None:
    """SIGKILL of its first process, from outside; Docker starts it again."""
    forgets_alerts(stack, wishes, service)
    saved(stack, load)
    restarts = stack.restarts(service)
    began_s = time.monotonic()
    stack.kill(service)
    wishes.change()

    broker_kill = (began_s, time.monotonic()) if service == "mosquitto" else None
    seen = recovery(stack, load, began_s, wishes.wanted, broker_kill)

    assert stack.restarts(service) == restarts + 1
    until(lambda: stack.healthy(service), 20, f"{service} is healthy", every_s=0.2)
    table.add(service, "SIGKILL; both pins change at once", EXPECTED, str(seen))


@every_service
def test_a_frozen_service_goes_on(stack: Stack, load: Load, wishes: Wishes, table: FaultTable, service: str) -> None:
    """Its connections stay open and nobody answers."""
    forgets_alerts(stack, wishes, service)
    stack.pause(service)
    frozen_s = time.monotonic()
    try:
        wishes.change()
        time.sleep(FROZEN_S - (time.monotonic() - frozen_s))  # the length of the fault, not a wait for something
    finally:
        stack.unpause(service)

    seen = recovery(stack, load, time.monotonic(), wishes.wanted)

    table.add(service, f"frozen for {FROZEN_S:.0f} s; both pins change meanwhile", EXPECTED, str(seen))


@every_service
def test_a_stopped_service_goes_on(stack: Stack, load: Load, wishes: Wishes, table: FaultTable, service: str) -> None:
    """Stopped as an operator does, and started again later; at SIGTERM it ends by itself."""
    forgets_alerts(stack, wishes, service)
    began_s = time.monotonic()
    stack.compose("stop", "--timeout", "10", service)
    stopped_s = time.monotonic() - began_s
    wishes.change()
    stack.compose("start", service)

    seen = recovery(stack, load, time.monotonic(), wishes.wanted)

    assert stopped_s < 9, f"{service} did not end at SIGTERM"
    until(lambda: stack.healthy(service), 20, f"{service} is healthy", every_s=0.2)
    table.add(service, "stopped, both pins change, started", EXPECTED, str(seen))


def test_a_store_that_is_away_costs_no_reading(stack: Stack, load: Load, wishes: Wishes, table: FaultTable) -> None:
    """Stopped for some seconds; the listener holds what comes, and pins do not wait for the store."""
    stack.compose("stop", "influxdb")
    before = len(load.acknowledged_at_s)
    wishes.change()
    until_pins(stack, wishes.wanted)
    until(lambda: len(load.acknowledged_at_s) > before + AWAY_READINGS, 20, "readings for some seconds")
    stack.compose("start", "influxdb")

    seen = recovery(stack, load, time.monotonic(), wishes.wanted)

    expected = f"both pins right meanwhile; then {EXPECTED}"
    table.add("influxdb", "away for more than 5 s; both pins change meanwhile", expected, str(seen))


def test_a_listener_that_is_away_costs_no_reading(stack: Stack, load: Load, wishes: Wishes, table: FaultTable) -> None:
    """Stopped for some seconds; the broker keeps what comes."""
    stack.compose("stop", "listener")
    before = len(load.acknowledged_at_s)
    until(lambda: len(load.acknowledged_at_s) > before + AWAY_READINGS, 20, "readings for some seconds")
    stack.compose("start", "listener")

    seen = recovery(stack, load, time.monotonic(), wishes.wanted)

    table.add("listener", "away for more than 5 s", EXPECTED, str(seen))


def test_a_listener_that_dies_while_the_store_is_away_costs_no_reading(
    stack: Stack, load: Load, wishes: Wishes, table: FaultTable
) -> None:
    """What it holds in memory then is still the broker's: it acknowledges only what the store has."""
    stack.compose("stop", "influxdb")
    before = len(load.acknowledged_at_s)
    until(lambda: len(load.acknowledged_at_s) > before + AWAY_READINGS // 2, 20, "readings that cannot be stored")
    stack.kill("listener")
    stack.compose("start", "influxdb")

    seen = recovery(stack, load, time.monotonic(), wishes.wanted)

    table.add("influxdb, listener", "store stopped, then the listener's SIGKILL, store started", EXPECTED, str(seen))


def test_everything_dies_at_once(stack: Stack, load: Load, wishes: Wishes, table: FaultTable) -> None:
    """As in a power cut, except that the disk has everything that was written; ten programs start at the same time."""
    wishes.green(0)
    until_pins(stack, wishes.wanted)
    saved(stack, load)
    began_s = time.monotonic()
    stack.kill(*SERVICES, "demo-pot")
    killed_s = time.monotonic()
    wishes.change()

    seen = recovery(stack, load, began_s, wishes.wanted, (began_s, killed_s), ALL_RIGHT_WITHIN_S)

    expected = EXPECTED.replace(f"{RIGHT_WITHIN_S:.0f} s", f"{ALL_RIGHT_WITHIN_S:.0f} s")
    table.add("all of them", "SIGKILL at once; both pins change", expected, str(seen))


def test_a_broker_that_forgot_everything_is_told_again(
    stack: Stack, load: Load, wishes: Wishes, table: FaultTable
) -> None:
    """SIGKILL, and its database is gone: retained commands, states and the listener's session."""
    wishes.red(1)
    wishes.green(1)
    until_pins(stack, wishes.wanted)
    began_s = time.monotonic()
    stack.docker("kill", stack.container("mosquitto"))  # counts as a stop by hand: it stays down
    stack.wipe("mosquitto-data")
    stack.docker("start", stack.container("mosquitto"))
    started_s = time.monotonic()

    told = {"pin/red/set": '"v":1', "pin/green/set": '"v":1', "status": "online"}
    told |= {"pin/red/state": '"v":1', "pin/green/state": '"v":1'}
    with stack.client("svc.hub", stack.secret("mqtt_hub")) as reader:
        heard = reader.collect("pinloop/lights/#")

        def all_told() -> bool:
            last = {one.topic.removeprefix("pinloop/lights/"): one.payload.decode() for one in heard}
            return all(part in last.get(topic, "") for topic, part in told.items())

        until(all_told, 10, "commands, states and status")
    told_s = time.monotonic() - started_s
    # The listener's session is gone with the database: what the broker takes before the listener is back has no taker.
    until(lambda: stack.ready("listener", 8082), 10, "the listener is back")
    seen = recovery(stack, load, started_s, wishes.wanted, (began_s, time.monotonic()))
    wishes.change()
    until_pins(stack, wishes.wanted)

    expected = (
        "commands, states and status told again; pins right within 10 s; lost at most what came before the listener"
    )
    table.add("mosquitto", "SIGKILL, its database deleted, started", expected, f"told after {told_s:.1f} s; {seen}")


def test_a_broker_that_dies_soon_after_its_first_start_still_has_the_listeners_session(
    stack: Stack, load: Load, wishes: Wishes, table: FaultTable
) -> None:
    """mosquitto/start.sh has it save at once: what it takes afterwards while the listener is away waits for it."""
    began_s = time.monotonic()
    stack.docker("kill", stack.container("mosquitto"))
    stack.wipe("mosquitto-data")
    stack.docker("start", stack.container("mosquitto"))
    started_s = time.monotonic()
    until(lambda: stack.execute("mosquitto", "grep", "-c", "+/readings", DATABASE), 8, "it has saved", every_s=0.2)
    assert time.monotonic() - started_s < AUTOSAVE_S, "it would have saved by itself by now: this proves nothing"
    stack.pause("listener")
    stack.kill("mosquitto")
    killed_s = time.monotonic()
    before = len(load.acknowledged_at_s)
    until(lambda: len(load.acknowledged_at_s) > before + AWAY_READINGS // 2, 20, "readings that nobody takes")
    stack.unpause("listener")

    seen = recovery(stack, load, time.monotonic(), wishes.wanted, (began_s, killed_s))

    done = "its database deleted, started; SIGKILL within 10 s, the listener frozen; it goes on after 2 s"
    expected = "pins right within 10 s; lost at most what came before the SIGKILL, nothing that came after it"
    table.add("mosquitto, listener", done, expected, str(seen))

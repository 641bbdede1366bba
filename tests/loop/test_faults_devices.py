"""The real firmware under MicroPython, the real webhook and a broker, when the board or its link fails."""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.broker import Broker, Client
from tests.support.link import link_to
from tests.support.wait import until

RED = 4
LINK_LOST_S = 2
FLAPS = 12


def powered(device: Any, client: Client) -> Any:
    """Power a board, and return the states of its red pin when it is online."""
    states = client.collect(device.topic("pin/red/state"))
    online = client.collect(device.topic("info"))
    device.power()
    online.until(lambda _: True, 10)
    return states


def test_an_emergency_stop_passes_the_boards_own_guards(make: Any, webhook: Any, client: Client) -> None:
    """A person's off waits for the compressor's minimum; slot `safety` does not."""
    device = make("lights")
    device.config["pins"]["red"]["min_on_s"] = 600
    states = powered(device, client)
    webhook.call("PUT", "/pins/lights/red", {"value": 1, "for": "1h"})
    states.until(lambda m: json.loads(m.payload)["v"] == 1)
    # The webhook knows the limit, too, and holds the wish back; an older one beside it would not.
    webhook.call("PUT", "/pins/lights/red", {"value": 0, "for": "1h"})
    assert webhook.pin("lights", "red")["held"]["by"] == "min_on_s"
    plain = {"v": 0, "seq": 1, "epoch": "older", "ttl": 300}
    client.publish(device.topic("pin/red/set"), json.dumps(plain))
    states.until(lambda m: json.loads(m.payload)["why"] == "guard")
    assert device.pin(RED) == "1"
    answer = webhook.call("PUT", "/pins/lights/red", {"value": 0, "slot": "safety", "for": "1h"})
    assert answer[0] == 200, answer
    states.until(lambda m: json.loads(m.payload)["v"] == 0)
    assert device.pin(RED) == "0"


def test_a_board_that_lost_its_power_is_right_again_within_seconds(
    make: Any, webhook: Any, client: Client, record_property: Callable[[str, object], None]
) -> None:
    """It starts at its boot value, tells what it is, and gets a live command; it glitches to nothing in between."""
    device = make("lights")
    states = powered(device, client)
    webhook.alert("hot", "lights/red=1")
    states.until(lambda m: json.loads(m.payload)["v"] == 1)
    count = len(states)
    infos = client.collect(device.topic("info"))
    infos.clear()
    os.kill(device.process(), signal.SIGKILL)
    infos.until(lambda m: not m.retain, 15)
    told_s = time.monotonic()

    def since_boot() -> list[tuple[float, str]]:
        # The old life may have said once more that it follows: its own info made the webhook send again.
        said = [_said(m) for m in states[count:]]
        return said[said.index((0, "boot")) :] if (0, "boot") in said else []

    until(lambda: (1, "command") in since_boot(), 5, "the pin is on again")
    took_s = time.monotonic() - told_s
    assert device.pin(RED) == "1"
    assert since_boot() == [(0, "boot"), (1, "command")]
    assert took_s < 2
    record_property("seen", f"{took_s * 1000:.0f} ms from its `info` to the pin's report")


def test_a_board_behind_a_silent_link_is_safe_in_time_and_follows_again(
    make: Any, webhook: Any, client: Client, broker: Broker, record_property: Callable[[str, object], None]
) -> None:
    """Half-open: TCP stands, no byte comes through; the board does not wait for its lease."""
    with link_to(broker.port) as link:
        device = make("lights", port=link.port)
        device.config["pins"]["red"]["link_lost_s"] = LINK_LOST_S
        states = powered(device, client)
        webhook.alert("hot", "lights/red=1")
        states.until(lambda m: json.loads(m.payload)["v"] == 1)
        link.stall()
        silent_s = time.monotonic()
        until(lambda: device.pin(RED) == "0", 20, "the pin is safe")
        took_s = time.monotonic() - silent_s
        link.cut()
        link.flow()
        until(lambda: device.pin(RED) == "1", 20, "the pin follows again")
    # Its own time, a ping that is not answered, and the board's clock of a tenth.
    assert took_s < LINK_LOST_S + 2
    record_property("seen", f"safe {took_s:.1f} s after the last byte (link_lost_s {LINK_LOST_S})")


@pytest.mark.long
def test_a_board_without_a_broker_does_not_restart_while_a_pin_is_to_hold(
    make: Any, client: Client, broker: Broker
) -> None:
    """Its restart would end what the pin was told to keep; released, it restarts as every board does."""
    device = make("lights", link_limit_s=1)
    device.config["pins"]["red"]["hold"] = True
    powered(device, client)
    client.publish(device.topic("pin/red/set"), "1")
    until(lambda: device.pin(RED) == "1", 5, "the pin is on")
    broker.stop()
    until(lambda: device.text().count("link:") >= 5, 20, "tries for longer than the limit")
    assert (device.starts(), device.pin(RED)) == (1, "1")
    broker.start()
    until(client.client.is_connected, 10, "the client is back")
    client.publish(device.topic("pin/red/set"), "0", retain=True)
    until(lambda: device.pin(RED) == "0", 20, "the pin is off")
    broker.stop()
    until(lambda: device.starts() == 2, 20, "it restarts")


@pytest.mark.long
def test_a_link_that_flaps_every_second_switches_nothing_and_makes_no_storm(
    make: Any, webhook: Any, client: Client, broker: Broker, record_property: Callable[[str, object], None]
) -> None:
    """The pin stays on through all of it; each connection costs a few messages, and afterwards everything is right."""
    with link_to(broker.port) as link:
        device = make("lights", port=link.port)
        states = powered(device, client)
        webhook.alert("hot", "lights/red=1")
        states.until(lambda m: json.loads(m.payload)["v"] == 1)
        everything = client.collect(device.topic("#"))
        everything.clear()
        connected, next_s = link.connections, time.monotonic()
        levels = set()
        for _ in range(FLAPS):
            next_s += 1
            link.cut()
            until(lambda next_s=next_s: levels.add(device.pin(RED)) or time.monotonic() >= next_s, 5)
        tries = link.connections - connected
        messages = len(everything)
        webhook.alert("dry", "lights/green=1")
        until(lambda: device.pin(5) == "1", 10, "it follows again")
        client.publish(device.topic("cmd"), '{"do":"refresh"}')
        status = client.collect(device.topic("status"))
        until(lambda: status[-1].payload == b"online", 10, "it is online")
    assert levels == {"1"}
    assert device.starts() == 1
    assert tries <= 2 * FLAPS
    assert messages <= 12 * (tries + 1)
    record_property(
        "seen", f"{FLAPS} cuts in {FLAPS} s: {tries} connections, {messages} messages, the pin on all the time"
    )


def _said(message: Any) -> tuple[int, str]:
    state = json.loads(message.payload)
    return state["v"], state["why"]

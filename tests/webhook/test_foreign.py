"""Devices of other firmware behind a real mosquitto: claimed, commanded, read back, released as any Pinloop pin."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.broker import Client
from tests.support.wait import until

ROUTES = """
version: 1
devices:
  tasmota: {kind: tasmota, topic: kettle, pins: {power: {dead_man: true}}}
  zigbee: {kind: zigbee2mqtt, topic: zigbee2mqtt/living room/lamp, pins: {power: {dead_man: true}}}
  esphome: {kind: esphome, topic: heating, pins: {power: {entity: switch/relay}}}
  light: {kind: esphome, topic: hall, pins: {power: {entity: light/ceiling}}}
  gen1: {kind: shelly1, topic: shellies/shelly1-AB12, pins: {power: {relay: 1}}}
  gen2: {kind: shelly2, topic: shellyplus1-ab12, pins: {power: {dead_man: true}}}
  own:
    kind: custom
    status_topic: own/there
    pins:
      power: {topic: own/set, on: "yes", off: "no", state_topic: own/is, state_key: relay.on}
"""


class Vector(NamedTuple):
    """What a firmware is sent, and what it says; topics and payloads as its documentation has them."""

    device: str
    there: list[tuple[str, str]]
    on: list[tuple[str, str]]
    is_on: tuple[str, str]
    off: list[tuple[str, str]]
    is_off: tuple[str, str]
    gone: tuple[str, str] | None


def rpc(method: str, **params: object) -> tuple[str, str]:
    return "shellyplus1-ab12/rpc", json.dumps(
        {"id": 1, "src": "pinloop-gen2", "method": method, "params": {"id": 0, **params}}, separators=(",", ":")
    )


def status(output: bool) -> tuple[str, str]:
    result = {"id": 0, "source": "MQTT", "output": output, "apower": 0.0}
    answer = {"id": 1, "src": "shellyplus1-ab12", "dst": "pinloop-gen2", "result": result}
    return "pinloop-gen2/rpc", json.dumps(answer)


VECTORS = [
    Vector(
        "tasmota",
        [("tele/kettle/LWT", "Online")],
        [("cmnd/kettle/PulseTime1", "400"), ("cmnd/kettle/POWER1", "ON")],
        ("stat/kettle/RESULT", '{"POWER":"ON"}'),
        [("cmnd/kettle/POWER1", "OFF")],
        ("stat/kettle/POWER", "OFF"),
        ("tele/kettle/LWT", "Offline"),
    ),
    Vector(
        "zigbee",
        [("zigbee2mqtt/living room/lamp/availability", '{"state":"online"}')],
        [("zigbee2mqtt/living room/lamp/set", '{"state":"ON","on_time":300}')],
        ("zigbee2mqtt/living room/lamp", '{"state":"ON","linkquality":120}'),
        [("zigbee2mqtt/living room/lamp/set", '{"state":"OFF"}')],
        ("zigbee2mqtt/living room/lamp", '{"state":"OFF","linkquality":118}'),
        ("zigbee2mqtt/living room/lamp/availability", "offline"),
    ),
    Vector(
        "esphome",
        [("heating/status", "online")],
        [("heating/switch/relay/command", "ON")],
        ("heating/switch/relay/state", "ON"),
        [("heating/switch/relay/command", "OFF")],
        ("heating/switch/relay/state", "OFF"),
        ("heating/status", "offline"),
    ),
    Vector(
        "light",
        [("hall/status", "online")],
        [("hall/light/ceiling/command", '{"state":"ON"}')],
        ("hall/light/ceiling/state", '{"state":"ON","brightness":255}'),
        [("hall/light/ceiling/command", '{"state":"OFF"}')],
        ("hall/light/ceiling/state", '{"state":"OFF"}'),
        ("hall/status", "offline"),
    ),
    Vector(
        "gen1",
        [("shellies/shelly1-AB12/online", "true")],
        [("shellies/shelly1-AB12/relay/1/command", "on")],
        ("shellies/shelly1-AB12/relay/1", "on"),
        [("shellies/shelly1-AB12/relay/1/command", "off")],
        ("shellies/shelly1-AB12/relay/1", "off"),
        ("shellies/shelly1-AB12/online", "false"),
    ),
    Vector(
        "gen2",
        [("shellyplus1-ab12/online", "true")],
        [rpc("Switch.Set", on=True, toggle_after=300), rpc("Switch.GetStatus")],
        status(True),
        [rpc("Switch.Set", on=False), rpc("Switch.GetStatus")],
        ("shellyplus1-ab12/events/rpc", '{"method":"NotifyStatus","params":{"switch:0":{"id":0,"output":false}}}'),
        ("shellyplus1-ab12/online", "false"),
    ),
    Vector(
        "own",
        [("own/there", "online")],
        [("own/set", "yes")],
        ("own/is", '{"relay":{"on":"yes"}}'),
        [("own/set", "no")],
        ("own/is", '{"relay":{"on":"no"}}'),
        ("own/there", "offline"),
    ),
]  # fmt: skip


@pytest.fixture
def routed(make_webhook: Callable[..., Any], tmp_path: Path) -> Any:
    """A webhook with one device of each firmware."""
    routes = tmp_path / "routes.yml"
    routes.write_text(ROUTES)
    return make_webhook(reconcile_s=0.5, routes_path=routes).start()


def seen_after(client: Client, topics: set[str], act: Callable[[], object], count: int) -> list[tuple[str, str]]:
    """Return the first `count` messages on `topics` that follow from `act`, without questions."""
    seen = client.collect("#")
    before = len(seen)
    act()

    def found() -> list[tuple[str, str]]:
        said = [(m.topic, m.payload.decode()) for m in seen[before:] if m.topic in topics and m.payload]
        while said and said[0] == rpc("Switch.GetStatus"):  # of the greeting
            said.pop(0)
        return said[:count] if len(said) >= count else []

    return until(found, 5, f"{count} messages on {topics}; seen {[(m.topic, m.payload) for m in seen]}")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.device)
def test_a_pin_of_other_firmware_is_claimed_commanded_read_back_and_released(
    routed: Any, client: Client, vector: Vector
) -> None:
    """The firmware's own topics and payloads, in both directions; nothing of it is retained."""
    device = vector.device
    for message in vector.there:
        client.publish(*message)
    until(lambda: _status(client, device) == "online", 5, "the device is online at Pinloop")

    topics = {topic for topic, _ in (*vector.on, *vector.off)}
    on = seen_after(client, topics, lambda: routed.alert("hot", f"{device}/power=1"), len(vector.on))
    assert on == vector.on
    client.publish(*vector.is_on)
    facts = until(
        lambda: _followed(_reported(routed, device, 1)), 5, "on is reported, of the command that stands by then"
    )
    assert facts["reported"]["why"] == "command"
    assert "person" not in routed.call("GET", f"/pins/{device}/power/why")[1]["text"]

    off = seen_after(client, topics, lambda: routed.alert("hot", f"{device}/power=1", "resolved"), len(vector.off))
    assert off == vector.off
    client.publish(*vector.is_off)
    assert until(lambda: _reported(routed, device, 0), 5, "off is reported")["reported"]["why"] == "released"

    assert vector.gone
    client.publish(*vector.gone)
    until(lambda: _status(client, device) == "offline", 5, "the device is offline at Pinloop")


def _reported(webhook: Any, device: str, value: float) -> Any:
    facts = webhook.pin(device, "power")
    return facts if facts["reported"] and facts["reported"]["value"] == value else None


def _followed(facts: Any) -> Any:
    """Return the facts once the last command is the one that is reported: the device's info had it sent again."""
    return facts if facts and facts["reported"]["seq"] == facts["command"]["seq"] else None


def _status(client: Client, device: str) -> str:
    seen = client.collect(f"pinloop/{device}/status")
    until(lambda: seen, 2, "a retained status")
    return seen[-1].payload.decode()

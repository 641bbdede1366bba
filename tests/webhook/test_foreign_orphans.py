"""Pins of other firmware that are taken out of routes.yml are switched off, whoever was away when it happened."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.topics import Topics
from service.settings import MqttSettings
from tests.support.broker import Broker, Client
from tests.support.ports import free_port
from tests.support.wait import until
from webhook.commands import Commands
from webhook.database import Database
from webhook.foreign.bridge import Bridges
from webhook.foreign.model import Device, Heard, Message
from webhook.foreign.orphans import Orphan, read_declaration, write_declaration
from webhook.routes_file import parse_routes

KETTLE = "  kettle: {kind: tasmota, topic: kettle, pins: {power: }}\n"
OTHER = "  fan: {kind: custom, pins: {speed: {topic: fan/set, payload: '{\"é\":{value}}', safe: 5, retain: true}}}\n"
EVERY = (
    KETTLE
    + OTHER
    + """
  lamp: {kind: zigbee2mqtt, topic: z/lamp, user: z, pins: {light: {dead_man: true, max_on_s: 60, property: state}}}
  plug: {kind: shelly2, topic: shelly-1, pins: {power: {relay: 1}}}
  old: {kind: shelly1, topic: shellies/s, pins: {power: }}
  heat: {kind: esphome, topic: heating, pins: {power: {entity: switch/relay}}}
  own: {kind: custom, status_topic: own/there, online: "yes", pins: {a: {topic: own/a, off: "0", state_topic: own/is}}}
"""
)


def devices(text: str) -> dict[str, Device]:
    return dict(parse_routes(f"version: 1\ndevices:\n{text}").devices)


def orphan(text: str = KETTLE) -> Orphan:
    ((name, device),) = devices(text).items()
    return Orphan(device, "", set(device.pins), [f"pinloop/{name}/info"])


@pytest.mark.parametrize("device", devices(EVERY).values(), ids=lambda device: device.name)
def test_a_declaration_outlives_the_process(device: Device) -> None:
    """What is read is what was written, and switches in the same way."""
    read = read_declaration(device.name, write_declaration(device))
    assert read == device
    assert write_declaration(read) == write_declaration(device)
    for pin in device.pins:
        assert read.firmware.command(pin, 1, 60) == device.firmware.command(pin, 1, 60)
        assert read.place(pin) == device.place(pin)
    assert read.firmware.reads.keys() == device.firmware.reads.keys()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '["gone", "u", {}, {}]', '["tasmota", "u", {"p": [0]}, {}]'])
def test_a_declaration_of_another_version_is_refused(text: str) -> None:
    """It is told, and holds up nothing."""
    with pytest.raises(ValueError, match="."):
        read_declaration("x", text)


def test_a_pin_waits_until_its_device_reports_it_safe() -> None:
    """A report from before the safe value was sent says nothing."""
    one = orphan()
    one.heard(Heard("power", 0), retained=False)
    assert one.due() == [Message("cmnd/kettle/POWER1", b"OFF"), Message("pinloop/kettle/info", b"", True)]
    one.taken(10)
    assert one.due() == [Message("cmnd/kettle/POWER1", b"OFF")]
    one.heard(Heard("power", 1), retained=False)
    assert not one.done
    one.heard(Heard("power", 0), retained=False)
    assert one.done


def test_a_device_that_comes_back_is_told_at_once() -> None:
    """It was away, and is as it was left."""
    one = orphan()
    one.taken(10)
    assert not one.heard(Heard(online=True), retained=True)
    assert one.heard(Heard(online=True), retained=False)


def test_a_retained_word_counts_when_the_device_is_there_and_says_nothing_else() -> None:
    """ESPHome publishes no state that is what it was; its last one is retained."""
    one = orphan()
    one.heard(Heard("power", 0), retained=True)
    one.taken(10)
    one.settle(100)
    assert not one.done
    one.heard(Heard(online=True), retained=True)
    one.settle(39)
    assert not one.done
    one.settle(40)
    assert one.done


def test_a_pin_that_nobody_reports_is_done_when_the_broker_has_taken_its_safe_value() -> None:
    """Unless its device says that it is away."""
    one = orphan(OTHER)
    assert one.due()[0] == Message("fan/set", '{"é":5}'.encode(), True)
    one.taken(10)
    assert one.done


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yml"
    path.write_text(f"version: 1\ndevices:\n{KETTLE}")
    return path


def _switched_on(webhook: Any, client: Client) -> None:
    commands = client.collect("cmnd/kettle/POWER1")
    client.publish("tele/kettle/LWT", "Online", retain=True)
    until(lambda: webhook.call("GET", "/pins/kettle/power")[0] == 200, 5, "the kettle is known")
    webhook.alert("cold", "kettle/power=1")
    commands.until(lambda message: message.payload == b"ON")
    client.publish("stat/kettle/RESULT", '{"POWER":"ON"}')
    until(lambda: webhook.pin("kettle", "power")["reported"]["value"] == 1, 5, "it is on")


def _warning(webhook: Any) -> str:
    status, ready = webhook.call("GET", "/readyz")
    assert status in (200, 503)
    return str(ready["warnings"].get("other firmware that is declared no more", ""))


def test_a_device_that_was_taken_out_while_the_webhook_was_down_is_switched_off(
    make_webhook: Callable[..., Any], client: Client, routes: Path
) -> None:
    """At the next start; it is told until the device says that it is off, over another restart, and never again."""
    webhook = make_webhook(routes_path=routes).start()
    _switched_on(webhook, client)
    webhook.kill()
    routes.write_text("version: 1\n")
    for _ in range(2):
        off = client.collect("cmnd/kettle/POWER1")
        webhook.start()
        off.until(lambda message: message.payload == b"OFF")
        assert "kettle/power is declared no more and may be on" in until(lambda: _warning(webhook), 3, "the warning")
        webhook.kill()
    webhook.start()
    off = client.collect("cmnd/kettle/POWER1")
    off.until(lambda message: message.payload == b"OFF")
    client.publish("stat/kettle/RESULT", '{"POWER":"OFF"}')
    until(lambda: not _warning(webhook), 5, "nothing waits")
    status = client.collect("pinloop/kettle/status")
    assert not [message for message in status if message.payload]
    webhook.kill()
    off = client.collect("cmnd/kettle/POWER1")
    webhook.start()
    client.publish("cmnd/kettle/POWER1", "end")
    off.until(lambda message: message.payload == b"end")
    assert [message.payload for message in off] == [b"end"]


def test_a_device_that_is_taken_out_while_the_broker_is_away_is_switched_off_when_it_is_back(
    make_webhook: Callable[..., Any], broker: Broker, client: Client, routes: Path
) -> None:
    """The webhook goes on running meanwhile, and says that the pin may be on."""
    webhook = make_webhook(routes_path=routes).start()
    _switched_on(webhook, client)
    broker.stop()
    routes.write_text("version: 1\n")
    assert "kettle/power is declared no more" in until(lambda: _warning(webhook), 10, "the warning")
    broker.start()
    again = Client(broker)
    off = again.collect("cmnd/kettle/POWER1")
    off.until(lambda message: message.payload == b"OFF")
    again.publish("stat/kettle/POWER", "OFF")
    until(lambda: not _warning(webhook), 5, "nothing waits")
    again.close()


def test_a_disk_that_is_full_takes_no_device_from_the_bridge(tmp_path: Path) -> None:
    """What is declared is commanded all the same, and that something may be on is told."""
    database = Database(tmp_path / "claims.db")
    bridges = Bridges(MqttSettings(mqtt_port=free_port()), Topics(), database, Commands(database, 300))
    database.connection.execute("PRAGMA query_only = 1")
    bridges.follow(devices(KETTLE))
    assert "not connected" in (bridges.problem() or "")
    assert "may be on" in (bridges.warning() or "")
    database.connection.execute("PRAGMA query_only = 0")
    bridges.follow({})
    assert bridges.warning() is None
    bridges.stop()
    database.close()


def test_a_device_that_is_renamed_is_not_switched_off_beside_its_new_name(
    make_webhook: Callable[..., Any], client: Client, routes: Path
) -> None:
    """Who has taken over the relay has taken over its end, too; who commands it now is not disturbed."""
    webhook = make_webhook(routes_path=routes).start()
    _switched_on(webhook, client)
    webhook.kill()
    routes.write_text(f"version: 1\ndevices:\n{KETTLE.replace('  kettle:', '  teapot:')}")
    webhook.start()
    off = client.collect("cmnd/kettle/POWER1")
    assert _warning(webhook) == ""
    until(lambda: webhook.call("GET", "/pins/teapot/power")[0] == 200, 5, "the teapot is known")
    client.publish("tele/kettle/LWT", "Online", retain=True)
    off.until(lambda message: message.payload == b"OFF")
    client.publish("stat/kettle/RESULT", json.dumps({"POWER": "OFF"}))
    until(lambda: (webhook.pin("teapot", "power")["reported"] or {}).get("why") == "released", 5, "its end is seen")

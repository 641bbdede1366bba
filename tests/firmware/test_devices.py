"""Virtual devices against a real broker: presence, commands, leases. On both interpreters."""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from paho.mqtt.client import MQTTMessage

from contract.presence import decode_info
from contract.readings import decode_reading
from firmware import VERSION
from tests.support.broker import Broker, Client, Seen
from tests.support.wait import until

Make = Callable[..., Any]

RED = 4


def command(value: float, seq: int = 1, ttl: int = 60, epoch: str = "e1") -> str:
    """Return the payload of a command."""
    return json.dumps({"v": value, "seq": seq, "ttl": ttl, "epoch": epoch})


def says(**wanted: object) -> Callable[[MQTTMessage], bool]:
    """Return a test for JSON messages that hold these values."""

    def holds(message: MQTTMessage) -> bool:
        fields = json.loads(message.payload)
        return all(fields.get(key) == value for key, value in wanted.items())

    return holds


def says_state(device: Any, pin: str = "red", **wanted: object) -> Callable[[MQTTMessage], bool]:
    """Return a test for states of a pin that hold these values."""
    topic = device.topic(f"pin/{pin}/state")
    return lambda message: message.topic == topic and says(**wanted)(message)


def online(device: Any, client: Client) -> Seen:
    """Power a device and return its messages, from the start; returns when it has told everything about itself."""
    seen = client.collect(device.topic("#"))
    device.power()
    seen.until(lambda message: message.topic == device.topic("info"), 10)
    return seen


def test_a_device_comes_online_and_says_what_it_is(make: Make, client: Client, broker: Broker, engine: str) -> None:
    """Status, state of every pin and info are retained; info keeps to the contract."""
    device = make("lights", engine)
    online(device, client)
    with Client(broker) as late:
        kept = late.collect(device.topic("#"))
        until(lambda: len(kept) == 4, 5, "status, info and two states")
        assert all(message.retain for message in kept)
    assert _last(kept, device.topic("status")) == b"online"
    assert json.loads(_last(kept, device.topic("pin/red/state"))) == {"v": 0, "why": "boot", "seq": 0}
    info = decode_info(_last(kept, device.topic("info")))
    assert str(info["mpy"]).startswith(engine)
    assert info["pins"]["red"]["gpio"] == RED  # type: ignore[index]
    assert (info["reset"], info["boots"], info["fw"]) == ("power-on", 1, VERSION)


def test_the_broker_tells_that_a_killed_device_is_offline(
    make: Make, client: Client, broker: Broker, engine: str
) -> None:
    """The will; and no device outlives its board."""
    device = make("lights", engine)
    seen = online(device, client)
    process = device.process()
    os.kill(device.child.pid, signal.SIGKILL)
    device.child.wait(5)
    seen.until(lambda message: message.topic == device.topic("status") and message.payload == b"offline")
    until(lambda: not _alive(process), 5, "the device died with its board")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_board_ends_cleanly_on_sigterm(make: Make, client: Client, engine: str) -> None:
    """Exit code 0, the device gone."""
    device = make("lights", engine)
    online(device, client)
    process = device.process()
    device.child.terminate()
    assert device.child.wait(5) == 0
    assert not _alive(process)


def test_a_command_sets_the_pin_and_is_reported(make: Make, client: Client, engine: str) -> None:
    """The pin is set before its state is told; the state carries the command's seq."""
    device = make("lights", engine)
    seen = online(device, client)
    client.publish(device.topic("pin/red/set"), command(1, 7), retain=True)
    seen.until(
        lambda message: message.topic == device.topic("pin/red/state") and says(v=1, seq=7, why="command")(message)
    )
    assert device.pin(RED) == "1"


def test_a_retained_command_waits_for_a_live_one(make: Make, client: Client, engine: str) -> None:
    """What was retained before the device came may be days old: it does not switch a pin on."""
    device = make("lights", engine)
    client.publish(device.topic("pin/red/set"), command(1, 7), retain=True)
    client.publish(device.topic("pin/green/set"), command(0, 8), retain=True)
    seen = online(device, client)
    seen.until(says_state(device, "green", seq=8))  # its safe value, so it counts at once
    count = len(seen)
    client.publish(device.topic("cmd"), '{"do":"refresh"}')
    until(lambda: device.topic("info") in seen.topics()[count:], 5, "an answer to what came after all retained")
    assert device.pin(RED) == "0"
    client.publish(device.topic("pin/red/set"), command(1, 7), retain=True)
    seen.until(says_state(device, v=1, seq=7))
    assert device.pin(RED) == "1"


def test_a_lease_ends_at_the_safe_value(make: Make, client: Client, engine: str) -> None:
    """Nobody renews: the pin goes to `safe`, here not its default, by itself."""
    device = make("lights", engine)
    device.config["pins"]["red"].update(safe=0, default=1)
    seen = online(device, client)
    client.publish(device.topic("pin/red/set"), command(1, 7, ttl=1))
    seen.until(says_state(device, v=1, why="command"))
    seen.until(says_state(device, v=0, why="expired", seq=7))
    assert device.pin(RED) == "0"


def test_a_released_pin_goes_to_its_default(make: Make, client: Client, engine: str) -> None:
    """An empty `set`: the default, which is not the safe value here."""
    device = make("lights", engine)
    device.config["pins"]["red"].update(safe=0, default=1)
    seen = online(device, client)
    client.publish(device.topic("pin/red/set"), command(0, 7))
    seen.until(says_state(device, v=0, why="command"))
    client.publish(device.topic("pin/red/set"), "", retain=True)
    seen.until(says_state(device, v=1, why="released"))
    assert device.pin(RED) == "1"


def test_a_lost_link_makes_pins_safe(make: Make, client: Client, broker: Broker, engine: str) -> None:
    """The broker is gone for longer than the pin allows; a pin with `hold` stays."""
    device = make("lights", engine)
    device.config["pins"]["red"]["link_lost_s"] = 0.5
    device.config["pins"]["green"].update(link_lost_s=0.5, hold=True)
    seen = online(device, client)
    for pin in ("red", "green"):
        client.publish(device.topic(f"pin/{pin}/set"), command(1, 7))
        seen.until(says_state(device, pin, v=1))
    broker.kill()
    until(lambda: device.pin(RED) == "0", 5, "the pin is safe")
    assert device.pin(5) == "1"
    broker.start()
    seen.until(says_state(device, v=0, why="link-lost", seq=7), 10)


def test_the_time_of_a_lost_link_counts_from_the_last_sign_of_the_broker(
    make: Make, client: Client, broker: Broker
) -> None:
    """Not from the last ping: a short interruption does not switch a pin that may wait longer."""
    device = make("lights")
    device.config["mqtt"]["keepalive_s"] = 60
    device.config["pins"]["red"]["link_lost_s"] = 1
    seen = online(device, client)
    client.publish(device.topic("pin/green/set"), command(1, 1, ttl=1))
    seen.until(says_state(device, "green", why="expired"))  # a second has passed since the device came online
    client.publish(device.topic("pin/red/set"), command(1, 1))
    seen.until(says_state(device, v=1))
    broker.kill()
    killed_s = time.monotonic()
    until(lambda: device.pin(RED) == "0", 5, "the pin is safe")
    assert time.monotonic() - killed_s > 0.9


def test_an_older_command_is_ignored(make: Make, client: Client, engine: str) -> None:
    """A seq that is not greater, of the same epoch, does nothing; another epoch counts from anew."""
    device = make("lights", engine)
    seen = online(device, client)
    topic = device.topic("pin/red/set")
    client.publish(topic, command(1, 9))
    for seq in (8, 9):
        client.publish(topic, command(0, seq))
    client.publish(topic, command(1, 2, epoch="e2"))
    seen.until(says_state(device, seq=2))
    states = [json.loads(message.payload) for message in seen if message.topic == device.topic("pin/red/state")]
    assert [(state["v"], state["seq"]) for state in states] == [(0, 0), (1, 9), (1, 2)]


def test_a_renewal_extends_the_lease_without_switching(make: Make, client: Client, engine: str) -> None:
    """The same value with a new seq: reported, but the hardware is not touched again."""
    device = make("lights", engine)
    seen = online(device, client)
    client.publish(device.topic("pin/red/set"), command(1, 1, ttl=1))
    seen.until(says_state(device, seq=1))
    written_ns = (device.folder / "pin4").stat().st_mtime_ns
    client.publish(device.topic("pin/red/set"), command(1, 2, ttl=60))
    seen.until(says_state(device, seq=2, v=1, why="command"))
    client.publish(device.topic("pin/green/set"), command(1, 1, ttl=1))
    seen.until(says_state(device, "green", why="expired"))
    assert device.pin(RED) == "1"  # green's second has passed, and so would red's first lease have
    assert (device.folder / "pin4").stat().st_mtime_ns == written_ns


BAD = [
    b"on",
    b"{",
    b'{"v":true}',
    b'{"v":2}',
    b'{"v":0.5}',
    b"\xff",
    b'{"v":1,"ttl":-1}',
    b"[]",
    b"x" * 600,
    b"y" * 5000,
]


def test_bad_messages_are_ignored_and_counted(make: Make, client: Client, engine: str) -> None:
    """None of them stops the device or the connection, whatever its size; info tells how many there were."""
    device = make("lights", engine)
    seen = online(device, client)
    for payload in BAD:
        client.publish(device.topic("pin/red/set"), payload)
    client.publish(device.topic("cmd"), '{"do":"dance"}')
    client.publish(device.topic("cmd"), '{"do":"refresh"}')
    seen.until(lambda message: message.topic == device.topic("info") and says(bad=len(BAD) + 1)(message))
    assert device.pin(RED) == "0"
    assert device.starts() == 1


def test_readings_keep_to_the_contract(make: Make, client: Client, engine: str) -> None:
    """The potentiometer's file becomes a percentage; samples are counted from the device's start."""
    device = make("pot", engine, interval_s=0.05)
    (device.folder / "adc32").write_text("40000")
    seen = online(device, client)
    topic = device.topic("reading/pot")
    until(lambda: seen.topics().count(topic) >= 5, 5, "five readings")
    samples = [decode_reading("pot", message.payload) for message in seen if message.topic == topic]
    assert [sample.n for sample in samples[:5]] == [1, 2, 3, 4, 5]
    assert {sample.values["pot"] for sample in samples} == {61}
    assert {sample.boot for sample in samples} == {json.loads(_last(seen, device.topic("info")))["boot"]}
    (device.folder / "adc32").write_text("65535")
    seen.until(lambda message: message.topic == topic and says(v=100)(message))


def _last(seen: Seen, topic: str) -> bytes:
    return [message.payload for message in seen if message.topic == topic][-1]


def test_readings_survive_a_dead_broker(make: Make, broker: Broker, engine: str) -> None:
    """The broker is killed and started again: every reading arrives, in order, and each is acknowledged.

    All but what the broker had acknowledged and not handed on when it died: that no device can know.
    """
    device = make("pot", engine, interval_s=0.02, trace="acked")
    with Client(broker, client_id="collector", clean=False) as collector:
        seen = collector.collect(device.topic("reading/pot"))
        device.power()
        until(lambda: len(seen) > 5, 10, "readings")
        _save(broker)  # so that it remembers the collector's subscription
        broker.kill()
        stopped_at = len(seen)
        died_with = {int(line.split()[1]) for line in (device.folder / "acked").read_text().splitlines()}
        until(lambda: "link:" in device.text(), 5, "the device notices")
        broker.start()
        until(lambda: len(seen) > stopped_at + 20, 10, "readings again")
        numbers = [json.loads(message.payload)["n"] for message in list(seen)]
    assert set(range(1, max(numbers) + 1)) - set(numbers) <= died_with
    firsts = list(dict.fromkeys(numbers))  # without the redelivered
    assert firsts == sorted(firsts)
    acked = [int(line.split()[1]) for line in (device.folder / "acked").read_text().splitlines()]
    assert acked == list(range(1, len(acked) + 1))


def _save(broker: Broker) -> None:
    """Let mosquitto write its database now."""
    database = broker.folder / "mosquitto.db"
    assert broker.process is not None
    os.kill(broker.process.pid, signal.SIGUSR1)
    until(lambda: database.exists() and database.stat().st_size > 0, 5, "the broker has saved")


def test_the_chip_s_temperature_is_a_sensor(make: Make, client: Client) -> None:
    """Another driver is another file; its unit is in info."""
    device = make("pot", sensors={"inside": {"driver": "chip", "interval_s": 0.1}})
    (device.folder / "temp_f").write_text("140")
    seen = online(device, client)
    seen.until(lambda message: message.topic == device.topic("reading/inside") and says(v=60)(message))
    assert json.loads(_last(seen, device.topic("info")))["sensors"] == {"inside": {"unit": "°C"}}


@pytest.mark.parametrize("payload", [b"1", b"0"])
def test_the_seed_lights_follow_a_retained_alert(make: Make, client: Client, engine: str, payload: bytes) -> None:
    """`/alert` 1: red on, green off; 0: the other way round; retained counts at once."""
    device = make("seed-lights", engine)
    client.publish("/alert", payload, retain=True)
    online(device, client)
    wanted = ("1", "0") if payload == b"1" else ("0", "1")
    until(lambda: (device.pin(4), device.pin(5)) == wanted, 5, "the lights")


def test_the_seed_lights_are_dark_until_told_and_ignore_the_rest(make: Make, client: Client, engine: str) -> None:
    """Both off at boot; text and other numbers change nothing (the seed took text for 0: green)."""
    device = make("seed-lights", engine)
    seen = online(device, client)
    assert (device.pin(4), device.pin(5)) == ("0", "0")
    for payload in ("green", "2", '{"v":1}', ""):
        client.publish("/alert", payload)
    client.publish(device.topic("cmd"), '{"do":"refresh"}')
    seen.until(lambda message: message.topic == device.topic("info") and says(bad=6)(message))
    assert (device.pin(4), device.pin(5)) == ("0", "0")
    client.publish("/alert", "1")
    until(lambda: (device.pin(4), device.pin(5)) == ("1", "0"), 5, "the lights")


def test_the_seed_pot_publishes_bare_integers(make: Make, client: Client, engine: str) -> None:
    """`/pot`, decimal text, `int(raw * 100 / 4095)`."""
    device = make("seed-pot", engine, interval_s=0.05)
    (device.folder / "adc32").write_text("40000")
    seen = client.collect("/pot")
    online(device, client)
    assert seen.until(lambda message: True).payload == b"61"

"""What goes wrong around a device, and what it does about it: resets, hangs, silence, lost packets."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.broker import Broker, Client
from tests.support.ports import free_port
from tests.support.wait import until

Make = Callable[..., Any]


def info_after(device: Any, client: Client, start: int) -> dict[str, Any]:
    """Return the info of the device's `start`th start."""
    with_boots = client.collect(device.topic("info")).until(lambda m: json.loads(m.payload)["boots"] == start, 10)
    return dict(json.loads(with_boots.payload))


def test_a_device_resets_when_asked_and_tells_why(make: Make, client: Client, engine: str) -> None:
    """`cmd` reset; the board starts it again; info carries the cause and a new boot id."""
    device = make("lights", engine).power()
    first = info_after(device, client, 1)
    client.publish(device.topic("cmd"), '{"do":"reset"}')
    second = info_after(device, client, 2)
    assert second["reset"] == "soft: asked over MQTT"
    assert second["boot"] != first["boot"]


def test_a_retained_cmd_is_ignored(make: Make, client: Client) -> None:
    """It was meant for an earlier time; a device that obeyed would reset for ever."""
    device = make("lights")
    client.publish(device.topic("cmd"), '{"do":"reset"}', retain=True)
    device.power()
    info_after(device, client, 1)
    seen = client.collect(device.topic("info"))
    client.publish(device.topic("cmd"), '{"do":"refresh"}')
    seen.until(lambda message: not message.retain)
    assert device.starts() == 1


def test_identify_blinks_the_led(make: Make, client: Client) -> None:
    """So that a person finds the board."""
    device = make("lights", led={"gpio": 2, "active_low": True}).power()
    info_after(device, client, 1)
    client.publish(device.topic("cmd"), '{"do":"identify"}')
    until(lambda: device.pin(2) == "1", 5, "the LED is off")
    until(lambda: device.pin(2) == "0", 5, "the LED is on")


def test_the_watchdog_ends_a_hang(make: Make, client: Client, engine: str) -> None:
    """A sensor that never answers stops the loop; only the hardware can help."""
    device = make("pot", engine, watchdog_s=2, interval_s=0.1).power()
    info_after(device, client, 1)
    voltage = device.folder / "adc32"
    voltage.unlink()
    os.mkfifo(voltage)  # opening it blocks until somebody writes
    until(lambda: "its watchdog has bitten" in device.text(), 10, "the watchdog")
    voltage.unlink()
    assert info_after(device, client, 2)["reset"] == "watchdog"


def test_an_exception_restarts_the_device_and_is_told(make: Make, client: Client, engine: str) -> None:
    """A duty that fails is not swallowed: place and message reach `log` after the restart, the reason `info`."""
    device = make("pot", engine, interval_s=0.05)
    told = client.collect(device.topic("log"))
    device.power()
    info_after(device, client, 1)
    (device.folder / "adc32").write_text("banana")
    until(lambda: device.starts() > 1, 5, "it starts again")
    (device.folder / "adc32").write_text("0")
    assert b"ValueError" in told.until(lambda message: True, 10).payload
    assert b"adc.py" in told[0].payload
    retained = client.collect(device.topic("info")).until(lambda message: True)
    assert "sensor pot failed: ValueError" in json.loads(retained.payload)["reset"]
    until(lambda: (device.folder / "exception.told").exists(), 5, "it notes that it has told")


def test_a_bad_configuration_is_told_and_tried_again(make: Make) -> None:
    """The device does not die silently on it: it prints what is wrong and restarts."""
    device = make("pot")
    device.config["sensors"]["pot"]["driver"] = "banana"
    device.power()
    until(lambda: device.starts() > 1, 5, "it tries again")
    assert "banana" in device.text()


def test_without_a_broker_the_device_restarts_after_its_limit(make: Make, client: Client, engine: str) -> None:
    """Ten minutes unless configured; a fresh start mends what waiting does not."""
    device = make("lights", engine, port=free_port(), link_limit_s=1).power()
    until(lambda: device.starts() > 1, 10, "it restarts")
    assert "reset: no broker for too long" in device.text()
    assert "cannot connect" in device.text() or "link:" in device.text()


def test_a_silent_broker_is_left_and_found_again(make: Make, client: Client, broker: Broker) -> None:
    """TCP stays open but nothing answers: the keepalive notices, readings wait, and none is missing afterwards."""
    device = make("pot", interval_s=0.05)
    seen = client.collect(device.topic("reading/pot"))
    device.power()
    until(lambda: len(seen) > 3, 10, "readings")
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        until(lambda: "silent" in device.text(), 10, "the device notices")
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)
    count = len(seen)
    until(lambda: len(seen) > count + 60, 10, "readings again")
    numbers = {json.loads(message.payload)["n"] for message in list(seen)}
    assert numbers == set(range(1, max(numbers) + 1))


def test_a_lost_wifi_is_found_again(make: Make, client: Client, engine: str) -> None:
    """The access point goes and comes back; the broker is told by the will in between."""
    device = make("lights", engine)
    seen = client.collect(device.topic("status"))
    device.power()
    seen.until(lambda message: message.payload == b"online", 10)
    (device.folder / "link").write_text("0")
    seen.until(lambda message: message.payload == b"offline", 10)
    count = len(seen)
    (device.folder / "link").write_text("1")
    until(lambda: any(message.payload == b"online" for message in seen[count:]), 15, "online again")
    assert device.starts() == 1


def test_a_full_ring_drops_the_oldest_and_counts(make: Make, client: Client, broker: Broker, engine: str) -> None:
    """What did not fit is told in info; what arrives is the newest, in order."""
    device = make("pot", engine, interval_s=0.02, ring=10)
    broker.stop()
    device.power()
    until(lambda: "link:" in device.text(), 5, "the device tries")
    time.sleep(1)  # fifty readings: the time itself is what is tested
    broker.start()
    with Client(broker) as again:
        dropped = info_after(device, again, 1)["dropped"]
    assert dropped >= 20


def test_a_pin_with_a_range_is_a_duty(make: Make, client: Client, engine: str) -> None:
    """`pwm_hz`: 0..max becomes 0..65535; outside is refused."""
    device = make("lights", engine)
    device.config["pins"] = {"fan": {"gpio": 12, "pwm_hz": 1000, "max": 100, "safe": 20}}
    device.power()
    info_after(device, client, 1)
    duty = device.folder / "pwm12"
    assert duty.read_text() == "13107"
    client.publish(device.topic("pin/fan/set"), "150")
    client.publish(device.topic("pin/fan/set"), "75.5")
    until(lambda: duty.read_text() == "49478", 5, "the duty")


class Peer:
    """A broker of the test's own, to see the bytes and to misbehave: one connection after another."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connection: socket.socket | None = None
        self._packets: list[tuple[int, bytes]] = []

    def accept(self, code: int = 0) -> None:
        """Take a connection, read CONNECT and answer it with `code` (0: accepted)."""
        self._listener.settimeout(10)
        self.connection, _ = self._listener.accept()
        self.connection.settimeout(5)
        assert self.packet()[0] == 0x10
        self.connection.sendall(bytes([0x20, 2, 0, code]))

    def packet(self) -> tuple[int, bytes]:
        """Return first byte and body of the next packet."""
        first = self._exactly(1)[0]
        size = shift = 0
        while True:
            byte = self._exactly(1)[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first, self._exactly(size)

    def until_packet(self, wanted: Callable[[int, bytes], object]) -> tuple[int, bytes]:
        """Return the next packet for which `wanted` is true."""
        while True:
            first, body = self.packet()
            if wanted(first, body):
                return first, body

    def _exactly(self, size: int) -> bytes:
        assert self.connection is not None
        data = b""
        while len(data) < size:
            more = self.connection.recv(size - len(data))
            assert more, "the device closed the connection"
            data += more
        return data

    def close(self) -> None:
        """Leave."""
        if self.connection:
            self.connection.close()
        self._listener.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A broker of the test's own."""
    running = Peer()
    yield running
    running.close()


def is_reading(first: int, body: bytes) -> bool:
    """Tell whether a packet publishes a reading."""
    return first & 0xF0 == 0x30 and b"/reading/" in body


def number(body: bytes) -> int:
    """Return the sample's number in a published reading."""
    return int(json.loads(body[body.index(b"{") :])["n"])


def test_unacknowledged_readings_are_sent_again_as_duplicates(make: Make, peer: Peer, engine: str) -> None:
    """The PUBACK is lost with the connection: the same packets come again, marked, before newer ones."""
    device = make("pot", engine, port=peer.port, interval_s=0.05).power()
    peer.accept()
    sent = [peer.until_packet(is_reading) for _ in range(3)]
    assert [first for first, _ in sent] == [0x32] * 3  # QoS 1, neither DUP nor retain
    peer.connection.close()  # type: ignore[union-attr]
    peer.accept()
    again = [peer.until_packet(is_reading) for _ in range(3)]
    assert [first for first, _ in again] == [0x3A] * 3
    assert [body for _, body in again] == [body for _, body in sent]
    assert device.starts() == 1


@pytest.mark.long
def test_a_reading_that_waited_says_how_long(make: Make, peer: Peer, engine: str) -> None:
    """Sent again, and sent late from the ring: whoever gets it can tell it from one of now."""
    make("pot", engine, port=peer.port, interval_s=0.1).power()
    peer.accept()
    sent = peer.until_packet(is_reading)[1]
    assert b'"a"' not in sent
    peer.connection.close()  # type: ignore[union-attr]
    over_s = time.monotonic() + 7
    while time.monotonic() < over_s:
        peer.accept(code=5)
    peer.accept()
    aged = [json.loads(body[body.index(b"{") :]) for body in (peer.until_packet(is_reading)[1] for _ in range(8))]
    assert aged[0]["n"] == number(sent)
    assert [one["n"] for one in aged] == list(range(aged[0]["n"], aged[0]["n"] + 8))
    assert all(5 < one["a"] < 30 for one in aged)


def test_a_device_with_a_misspelt_guard_keeps_every_pin_safe_and_tells_its_log(
    make: Make, client: Client, engine: str
) -> None:
    """It comes online without pins; a command moves nothing, and nobody has to look at its serial port."""
    device = make("lights", engine)
    device.config["pins"]["red"] |= {"max_on": 5, "boot": 1}
    device.config["pins"]["green"] |= {"safe": 1}
    seen = client.collect(device.topic("#"))
    device.power()
    told = seen.until(lambda message: message.topic == device.topic("log"), 15)
    assert "pins.red.max_on: this firmware has no such key; the nearest is max_on_s" in told.payload.decode()
    info = json.loads(seen.until(lambda message: message.topic == device.topic("info"), 5).payload)
    assert info["pins"] == {}
    client.publish(device.topic("pin/red/set"), '{"v":1,"seq":1,"ttl":60,"epoch":"e"}')
    client.publish(device.topic("pin/green/set"), '{"v":0,"seq":1,"ttl":60,"epoch":"e"}')
    client.publish(device.topic("cmd"), '{"do":"refresh"}')  # answered after what came before it
    until(lambda: seen.topics().count(device.topic("info")) == 2, 5, "the answer to refresh")
    assert (device.pin(4), device.pin(5)) == ("0", "1")
    assert device.starts() == 1


def test_a_silent_link_ends_a_pin_within_its_own_time_whatever_the_keepalive(
    make: Make, broker: Broker, client: Client, engine: str
) -> None:
    """The broker stands still and nothing closes the connection."""
    device = make("lights", engine)
    device.config["mqtt"]["keepalive_s"] = 60
    device.config["pins"]["red"]["link_lost_s"] = 3
    seen = client.collect(device.topic("info"))
    device.power()
    seen.until(lambda message: True, 10)
    client.publish(device.topic("pin/red/set"), '{"v":1,"seq":1,"ttl":600,"epoch":"e"}')
    until(lambda: device.pin(4) == "1", 5)
    assert broker.process is not None
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        until(lambda: device.pin(4) == "0", 6, "the pin is safe")
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)


def test_a_refused_device_says_so_and_tries_again(make: Make, peer: Peer, engine: str) -> None:
    """A wrong password today may be right tomorrow; meanwhile nothing is published."""
    device = make("pot", engine, port=peer.port, interval_s=0.05).power()
    for _ in range(2):
        peer.accept(code=5)
        with pytest.raises((AssertionError, ConnectionError)):  # the next thing is the end of the connection
            peer.packet()
    until(lambda: "the broker refuses us, code 5" in device.text(), 5, "the reason")
    assert device.starts() == 1


def test_at_most_eight_readings_are_without_puback(make: Make, peer: Peer) -> None:
    """The window bounds the memory; an acknowledgement lets the next one go."""
    make("pot", port=peer.port, interval_s=0.02).power()
    peer.accept()
    sent = [peer.until_packet(is_reading) for _ in range(8)]
    assert [number(body) for _, body in sent] == list(range(1, 9))
    # a ping is the next thing that comes, half a keepalive later
    assert peer.packet()[0] == 0xC0
    peer.connection.sendall(b"\xd0\x00\x40\x02" + _pid(sent[0][1]))  # type: ignore[union-attr]
    assert number(peer.until_packet(is_reading)[1]) == 9


def _pid(body: bytes) -> bytes:
    topic = int.from_bytes(body[:2], "big")
    return body[2 + topic : 4 + topic]


def test_packets_arrive_in_any_pieces(make: Make, peer: Peer, engine: str) -> None:
    """Byte by byte, several at once, and one too long to be held, which is acknowledged and skipped."""
    device = make("lights", engine, port=peer.port).power()
    peer.accept()
    topic = device.topic("pin/red/set").encode()
    peer.until_packet(lambda first, _: first == 0x82)
    pieces = publication(topic, b'{"v":1,"seq":1}', 1)
    assert peer.connection is not None
    for byte in pieces:
        peer.connection.sendall(bytes([byte]))
        time.sleep(0.001)  # so that they leave one by one
    assert peer.until_packet(lambda first, _: first == 0x40)[1] == b"\x00\x01"
    assert device.pin(4) == "1"
    at_once = publication(topic, b'{"v":1,"seq":2}', 2) + publication(topic, b"x" * 3000, 3)
    peer.connection.sendall(at_once + publication(topic, b'{"v":0,"seq":3}', 4))
    acknowledged = [peer.until_packet(lambda first, _: first == 0x40)[1] for _ in range(3)]
    assert acknowledged == [b"\x00\x02", b"\x00\x03", b"\x00\x04"]
    assert device.pin(4) == "0"


def publication(topic: bytes, payload: bytes, pid: int) -> bytes:
    """Return a PUBLISH packet with QoS 1."""
    body = len(topic).to_bytes(2, "big") + topic + pid.to_bytes(2, "big") + payload
    length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
    return b"\x32" + length + body


def test_nagle_is_off(make: Make, peer: Peer) -> None:
    """Two small packets in a row reach the broker at once: with Nagle's algorithm the second waits for an ACK."""
    device = make("lights", port=peer.port).power()
    peer.accept()
    topic = device.topic("pin/red/set").encode()
    peer.until_packet(lambda first, body: first & 0xF0 == 0x30 and b"/info" in body)
    took_ms = []
    assert peer.connection is not None
    for seq in range(1, 21):
        start_s = time.perf_counter()
        peer.connection.sendall(publication(topic, b'{"v":%d,"seq":%d}' % (seq % 2, seq), seq))
        peer.until_packet(lambda first, _: first == 0x40)
        took_ms.append((time.perf_counter() - start_s) * 1000)
    assert sorted(took_ms)[10] < 10, took_ms  # 0.3 ms when idle; 40 ms with Nagle


def test_a_board_that_comes_with_sigint_goes_with_it(make: Make, client: Client) -> None:
    """Ctrl-C is as clean as SIGTERM."""
    device = make("lights").power()
    info_after(device, client, 1)
    device.child.send_signal(signal.SIGINT)
    assert device.child.wait(5) == 0
    assert device.text().rstrip().endswith("off")

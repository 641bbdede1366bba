"""TLS on a device, against a real mosquitto: it comes up, it is as quick, and it refuses every wrong certificate."""

import re
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from firmware.sim.engine import find
from pinloop.certificates import certificate_of, make_authority, make_server
from tests.firmware.conftest import Device, require
from tests.firmware.test_device_faults import Peer, publication
from tests.support.broker import Client
from tests.support.tls import secured_broker
from tests.support.wait import until

Power = Callable[..., Device]


@pytest.fixture
def power(tmp_path: Path) -> Iterator[Power]:
    """Return `power(engine, port, ca_path)`: a device with TLS, started, off again after the test."""
    devices: list[Device] = []

    def one(engine: str, port: int, ca_path: Path, host: str = "127.0.0.1") -> Device:
        device = Device(tmp_path / "lights", "lights", require(engine), host, port)
        (device.folder / "ca.pem").write_text(ca_path.read_text())
        device.config["mqtt"]["tls"] = {"ca": "ca.pem"}
        devices.append(device.power())
        return device

    yield one
    for device in devices:
        device.off()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_device_trusts_the_brokers_certificate(power: Power, tmp_path: Path, engine: str, host: str) -> None:
    """By address or by name: it comes online, takes commands and reports them."""
    with secured_broker(tmp_path / "broker") as secured, Client(secured.broker) as client:
        statuses = client.collect("pinloop/lights/status")
        states = client.collect("pinloop/lights/pin/red/state")
        device = power(engine, secured.tls_port, secured.ca_path, host)
        statuses.until(lambda message: message.payload == b"online", 10)
        client.publish(device.topic("pin/red/set"), '{"v":1,"seq":1,"epoch":"e","ttl":60}')
        states.until(lambda message: b'"command"' in message.payload)
        assert device.pin(4) == "1"


def test_small_packets_do_not_wait_under_tls(power: Power, tmp_path: Path, engine: str) -> None:
    """TCP_NODELAY is set before TLS hides the socket: the second packet of a turn waits 40 ms for an ACK otherwise."""
    authority = make_authority(datetime.now(UTC))
    server = tmp_path / "server.pem"
    server.write_text(make_server(authority, ["127.0.0.1"], datetime.now(UTC)))
    ca_path = tmp_path / "ca.pem"
    ca_path.write_text(certificate_of(authority))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server)
    peer = Peer()
    try:
        peer._listener = context.wrap_socket(peer._listener, server_side=True)
        device = power(engine, peer.port, ca_path)
        peer.accept()
        topic = device.topic("pin/red/set").encode()
        peer.until_packet(lambda first, body: first & 0xF0 == 0x30 and b"/info" in body)
        took_s = []
        assert peer.connection is not None
        for seq in range(1, 21):
            start_s = time.monotonic()
            peer.connection.sendall(publication(topic, b'{"v":%d,"seq":%d}' % (seq % 2, seq), seq))
            peer.until_packet(lambda first, _: first == 0x40)  # comes after the pin's state
            took_s.append(time.monotonic() - start_s)
        assert sorted(took_s)[10] < 0.02, took_s
    finally:
        peer.close()


REFUSED: dict[str, dict[str, Any]] = {
    "another authority's": {},
    "for another name": {"names": ["elsewhere"]},
    "for another address": {"names": ["127.0.0.2"]},
    "ended": {"days": -1},
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_device_refuses_a_broker_that_it_cannot_trust(power: Power, tmp_path: Path, engine: str, what: str) -> None:
    """It says why, tries again, and never signs in: its password stays with it."""
    with secured_broker(tmp_path / "broker", **REFUSED[what]) as secured, Client(secured.broker) as client:
        statuses = client.collect("pinloop/lights/#")
        device = power(engine, secured.tls_port, secured.ca_path if REFUSED[what] else secured.other_ca_path)
        until(lambda: device.text().count("link: ") > 1, 15, "a second try")
        # MicroPython's own words, ours for its number, or CPython's.
        assert re.search(
            "certificate (is refused|verify failed)|[Cc]ertificate .*(signed|expired|match)", device.text()
        )
        assert not statuses
        assert device.starts() == 1


def test_a_device_does_not_fall_back_to_plain_text(power: Power, tmp_path: Path, engine: str) -> None:
    """At a port without TLS it gets nothing, and gives nothing away."""
    with secured_broker(tmp_path / "broker") as secured, Client(secured.broker) as client:
        statuses = client.collect("pinloop/lights/#")
        device = power(engine, secured.broker.port, secured.ca_path)
        until(lambda: device.text().count("link: ") > 1, 15, "a second try")
        assert not statuses


def test_a_device_comes_back_after_the_broker(power: Power, tmp_path: Path, engine: str) -> None:
    """A new handshake on every connection."""
    with secured_broker(tmp_path / "broker") as secured, Client(secured.broker) as client:
        statuses = client.collect("pinloop/lights/status")
        device = power(engine, secured.tls_port, secured.ca_path)
        statuses.until(lambda message: message.payload == b"online", 10)
        secured.broker.kill()
        until(lambda: "link: " in device.text(), 10, "the device notices")
        secured.broker.start()
        with Client(secured.broker) as again:
            again.collect("pinloop/lights/status").until(lambda message: message.payload == b"online", 15)
        assert device.starts() == 1


def trusting(engine: str, folder: Path, before: str = "") -> Any:
    """Run `board.trust("ca.pem")` in a folder and return what the interpreter said."""
    found = find(require(engine))
    code = f"from firmware import board\n{before}\nboard.trust('ca.pem')"
    return subprocess.run(
        [*found.argv, "-c", code], cwd=folder, env=dict(found.env), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_bad_ca_file_is_a_bad_configuration(tmp_path: Path, engine: str, content: str) -> None:
    """A device without a CA must not go on without one."""
    if content:
        (tmp_path / "ca.pem").write_text(content)
    done = trusting(engine, tmp_path)
    assert done.returncode
    assert "Error" in done.stderr


def test_an_esp8266_says_that_it_cannot(tmp_path: Path, engine: str) -> None:
    """Its TLS would encrypt for whoever answers: worse than plain text, because it looks safe."""
    done = trusting(engine, tmp_path, "board.ESP8266 = True")
    assert "the ESP8266 cannot check certificates" in done.stderr

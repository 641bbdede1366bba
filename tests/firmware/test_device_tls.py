"""TLS on a device, against a real mosquitto: it comes up, it is as quick, and it refuses every wrong certificate."""

import json
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware.sim.engine import find
from tests.firmware.conftest import Device, require
from tests.support.broker import Client
from tests.support.tls import Secured, secured_broker
from tests.support.wait import until

Power = Callable[..., Device]


@pytest.fixture
def power(tmp_path: Path) -> Iterator[Power]:
    """Return `power(engine, secured, ...)`: a device with TLS, started, off again after the test."""
    devices: list[Device] = []

    def one(engine: str, secured: Secured, ca_path: Path | None = None, host: str = "127.0.0.1") -> Device:
        device = Device(tmp_path / "lights", "lights", require(engine), host, secured.tls_port)
        (device.folder / "ca.pem").write_text((ca_path or secured.ca_path).read_text())
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
        device = power(engine, secured, host=host)
        statuses.until(lambda message: message.payload == b"online", 10)
        client.publish(device.topic("pin/red/set"), '{"v":1,"seq":1,"epoch":"e","ttl":60}')
        states.until(lambda message: b'"command"' in message.payload)
        assert device.pin(4) == "1"


def test_a_command_over_tls_does_not_wait_for_a_delayed_ack(power: Power, tmp_path: Path, engine: str) -> None:
    """TCP_NODELAY is set before TLS hides the socket: without it each turn takes 40 ms."""
    with secured_broker(tmp_path / "broker") as secured, Client(secured.broker) as client:
        states = client.collect("pinloop/lights/pin/red/state")
        device = power(engine, secured)
        states.until(lambda message: True, 10)
        turns_s = []
        for seq in range(1, 21):
            start_s = time.monotonic()
            client.publish(device.topic("pin/red/set"), json.dumps({"v": seq % 2, "seq": seq, "epoch": "e", "ttl": 60}))
            states.until(lambda message, seq=seq: json.loads(message.payload).get("seq") == seq)
            turns_s.append(time.monotonic() - start_s)
        assert statistics.median(turns_s) < 0.03


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
        device = power(engine, secured, None if REFUSED[what] else secured.other_ca_path)
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
        plain = Secured(secured.broker, secured.broker.port, secured.ca_path, secured.other_ca_path)
        device = power(engine, plain)
        until(lambda: device.text().count("link: ") > 1, 15, "a second try")
        assert not statuses


def test_a_device_comes_back_after_the_broker(power: Power, tmp_path: Path, engine: str) -> None:
    """A new handshake on every connection."""
    with secured_broker(tmp_path / "broker") as secured, Client(secured.broker) as client:
        statuses = client.collect("pinloop/lights/status")
        device = power(engine, secured)
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

"""The MQTT session over TLS, against a real mosquitto: what it trusts, and what it says about the rest."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.mqtt import CERTIFICATE_ENDS, Session
from service.settings import MqttSettings, read
from service.tls import trusting
from tests.support.broker import Client
from tests.support.tls import Secured, secured_broker
from tests.support.wait import until


@pytest.fixture
def sessions() -> Iterator[list[Session]]:
    """Sessions that are stopped when the test ends."""
    started: list[Session] = []
    yield started
    for session in started:
        session.stop()


def started(sessions: list[Session], secured: Secured, **more: object) -> Session:
    """Start a session with this broker's TLS listener."""
    wanted = {"mqtt_host": "localhost", "mqtt_port": secured.tls_port, "mqtt_ca_path": secured.ca_path, **more}
    sessions.append(Session(MqttSettings(**wanted), "pump", subscriptions=[("pinloop/#", 1)]))  # type: ignore[arg-type]
    sessions[-1].start()
    return sessions[-1]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_it_connects_to_the_host_that_the_certificate_names(sessions: list[Session], tmp_path: Path, host: str):
    """By name and by address; messages pass, and the end of the certificate is a metric."""
    with secured_broker(tmp_path / "broker", days=100) as secured, Client(secured.broker) as client:
        session = started(sessions, secured, mqtt_host=host)
        assert session.wait_connected(5), session.problem()
        got = client.collect("pinloop/#")
        assert session.publish("pinloop/pump/status", b"online").wait(2)
        assert got.until(lambda message: True).payload == b"online"
        assert session.problem() is None
        left_s = CERTIFICATE_ENDS._value.get() - datetime.now(UTC).timestamp()
        assert 99 * 86400 < left_s < 100 * 86400


@pytest.mark.parametrize(
    ("server", "trust_other", "reason"),
    [
        ({}, True, "its certificate is refused: another authority signed it"),
        ({"names": ["elsewhere", "127.0.0.1"]}, False, "its certificate is refused: it is for other host names"),
        ({"days": -1}, False, "its certificate is refused: it has ended"),
    ],
)
def test_a_certificate_that_cannot_be_trusted_is_told(
    sessions: list[Session], tmp_path: Path, server: dict[str, object], trust_other: bool, reason: str
):
    """The problem names the broker and the reason, and the session never stands."""
    with secured_broker(tmp_path / "broker", **server) as secured:  # type: ignore[arg-type]
        session = started(sessions, secured, mqtt_ca_path=secured.other_ca_path if trust_other else secured.ca_path)
        expected = f"not connected to localhost:{secured.tls_port}: {reason}"
        until(lambda: session.problem() == expected, 5, f"the reason; it says {session.problem()!r}")
        assert not session.connected


def test_a_certificate_for_another_address_is_told(sessions: list[Session], tmp_path: Path):
    """An address is checked against the addresses in the certificate, not the names."""
    with secured_broker(tmp_path / "broker", names=["localhost", "127.0.0.2"]) as secured:
        session = started(sessions, secured, mqtt_host="127.0.0.1")
        until(lambda: "it is for other addresses" in (session.problem() or ""))


def test_a_plain_port_is_told(sessions: list[Session], tmp_path: Path):
    """TLS at the port of the plain listener: the likeliest slip."""
    with secured_broker(tmp_path / "broker") as secured:
        session = started(sessions, secured, mqtt_port=secured.broker.port)
        until(lambda: "is this its port for TLS?" in (session.problem() or ""), 5, "the reason")


def test_the_reason_goes_when_nobody_answers_any_more(sessions: list[Session], tmp_path: Path):
    """An old reason would send the operator the wrong way."""
    with secured_broker(tmp_path / "broker", days=-1) as secured:
        session = started(sessions, secured)
        until(lambda: "it has ended" in (session.problem() or ""))
        secured.broker.stop()
        until(lambda: session.problem() == f"not connected to localhost:{secured.tls_port}", 10)


def test_it_connects_as_soon_as_the_certificate_is_right(sessions: list[Session], tmp_path: Path):
    """Nothing has to be started again."""
    with secured_broker(tmp_path / "broker", days=-1) as secured, secured_broker(tmp_path / "other") as right:
        session = started(sessions, secured)
        until(lambda: "it has ended" in (session.problem() or ""))
        secured.broker.stop()
        server = tmp_path / "broker" / "server.pem"
        server.write_text((tmp_path / "other" / "server.pem").read_text())
        secured.ca_path.write_text(right.ca_path.read_text())
        secured.broker.start()
        until(lambda: "another authority" in (session.problem() or ""), 10)
        session.stop()
        assert started(sessions, secured).wait_connected(5)


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), ("nothing", "holds no certificate")])
def test_a_ca_file_that_cannot_be_used_ends_the_service_before_it_starts(
    tmp_path: Path, content: str | None, words: str
):
    """One line that names the setting and the file."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=f"--mqtt-ca-path: '{path}' {words}"):
        read("pump", MqttSettings, [], {"PINLOOP_MQTT_CA_PATH": str(path)})


def test_an_empty_ca_path_means_no_tls():
    """As the stack's plain.env says it."""
    assert read("pump", MqttSettings, [], {"PINLOOP_MQTT_CA_PATH": ""}) == MqttSettings()


def test_old_protocols_and_other_authorities_are_out(tmp_path: Path):
    """The system's own list of authorities does not count: only ours may speak for the broker."""
    with secured_broker(tmp_path / "broker") as secured:
        context = trusting(secured.ca_path)
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert len(context.get_ca_certs()) == 1

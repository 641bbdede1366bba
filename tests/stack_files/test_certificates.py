"""The authority and the broker's certificate: what they say, who holds what, and when there is a new one."""

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pinloop import certificates, setup
from pinloop.secrets import write_file
from pinloop.setup import UIDS
from tests.support.broker import Broker, Client, running_broker
from tests.support.ports import free_port
from tests.support.wait import until

NOW = datetime.now(UTC)
AUTHORITY = certificates.make_authority(NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the secrets go; not made yet."""
    return tmp_path / "secrets"


def run(folder: Path, *words: str) -> int:
    """Run setup as the container does."""
    return setup.main(["--folder", str(folder), *words])


def verified(tmp_path: Path, server: str, *words: str) -> bool:
    """Tell whether openssl takes a server's certificate, with the strictness of RFC 5280."""
    (tmp_path / "ca.pem").write_text(certificates.certificate_of(AUTHORITY))
    (tmp_path / "server.pem").write_text(certificates.certificate_of(server))
    strict = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem"]
    done = subprocess.run([*strict, *words, "server.pem"], cwd=tmp_path, capture_output=True, check=False)
    return done.returncode == 0


def test_a_certificate_holds_for_its_names_and_addresses_only(tmp_path: Path) -> None:
    """Also under the strict rules that Python 3.13 turned on."""
    names = certificates.split_names(" Garden.local ,192.168.1.10, fe80::1")
    server = certificates.make_server(AUTHORITY, names, NOW)

    assert certificates.names_in(server) == [*certificates.BASE_NAMES, "garden.local", "192.168.1.10", "fe80::1"]
    for name in ("mosquitto", "garden.local"):
        assert verified(tmp_path, server, "-verify_hostname", name)
    for address in ("127.0.0.1", "192.168.1.10", "fe80::1"):
        assert verified(tmp_path, server, "-verify_ip", address)
    assert not verified(tmp_path, server, "-verify_hostname", "elsewhere")
    assert not verified(tmp_path, server, "-verify_ip", "192.168.1.11")


def test_a_chip_that_believes_it_is_the_year_2000_takes_the_certificate(tmp_path: Path) -> None:
    """An ESP32 checks dates and starts there; one that begins today would keep it off the broker."""
    server = certificates.make_server(AUTHORITY, ["mosquitto"], NOW)

    for moment in (datetime(2000, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC), NOW):
        assert verified(tmp_path, server, "-attime", str(int(moment.timestamp())))
    assert not verified(tmp_path, server, "-attime", str(int((NOW + timedelta(days=1900)).timestamp())))


def test_a_server_never_outlives_its_authority() -> None:
    """In the authority's last years the server's certificate ends with it."""
    authority = certificates.make_authority(NOW, days=400)
    server = certificates.make_server(authority, ["mosquitto"], NOW)

    assert certificates.ends(server) == certificates.ends(authority)
    assert certificates.why_renew(authority, server, None, NOW + timedelta(days=300)) == ""


def test_each_certificate_has_a_key_of_its_own_on_p256() -> None:
    """Two runs never make the same."""
    made = [certificates.make_server(AUTHORITY, ["mosquitto"], NOW) for _ in range(2)]

    assert made[0] != made[1]
    for text in (*made, AUTHORITY):
        assert text.count("PRIVATE KEY-----") == 2
        assert "PRIVATE" not in certificates.certificate_of(text)
        said = subprocess.run(
            ["openssl", "x509", "-noout", "-text"], input=text, capture_output=True, text=True, check=True
        )
        assert "NIST CURVE: P-256" in said.stdout


@pytest.mark.parametrize(
    ("names", "days_later", "reason"),
    [
        (None, 0, ""),
        (["localhost", "mosquitto"], 0, ""),
        (["mosquitto"], 0, "its names changed"),
        (None, certificates.SERVER_DAYS - certificates.RENEW_DAYS - 1, ""),
        (None, certificates.SERVER_DAYS - 29, "it ends on"),
        (None, certificates.SERVER_DAYS + 1, "it ends on"),
    ],
)
def test_a_certificate_is_renewed_for_a_reason(names: list[str] | None, days_later: int, reason: str) -> None:
    """The order of names is none."""
    server = certificates.make_server(AUTHORITY, ["mosquitto", "localhost"], NOW)
    later = NOW + timedelta(days=days_later)

    renewed, why = certificates.renewed(AUTHORITY, server, names, later)

    assert why.startswith(reason)
    assert bool(why) == bool(reason)
    assert (renewed == server) == (not reason)
    assert set(certificates.names_in(renewed)) == set(names or ["mosquitto", "localhost"])
    assert certificates.why_renew(AUTHORITY, renewed, names, later) == ""


@pytest.mark.parametrize(("old", "reason"), [("", "there was none"), ("rubbish", "it was damaged")])
def test_a_lost_or_damaged_certificate_is_made_anew(old: str, reason: str) -> None:
    """With the usual names."""
    server, why = certificates.renewed(AUTHORITY, old, None, NOW)

    assert why == reason
    assert certificates.names_in(server) == list(certificates.BASE_NAMES)


def test_another_authority_means_another_certificate_with_the_same_names() -> None:
    """After a restore: the broker's old one is of the authority that is gone."""
    old = certificates.make_server(certificates.make_authority(NOW), ["a.local"], NOW)

    server, why = certificates.renewed(AUTHORITY, old, None, NOW)

    assert (why, certificates.names_in(server)) == ("another authority signed it", ["a.local"])


@pytest.mark.parametrize("bad", ["a b", "-x", "a..b", "*.local", "DNS:x", "a\nb", "x" * 64])
def test_a_name_that_is_none_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    """It would end up in a configuration of openssl."""
    monkeypatch.setenv("PINLOOP_MQTT_TLS_NAMES", f"ok.local,{bad}")

    assert run(folder) == 1

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{bad!r} is not a host name or an IP address" in said


def test_without_openssl_setup_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit 1."""
    monkeypatch.setenv("PATH", "")

    assert run(folder) == 1
    assert "the command openssl is missing; Debian: apt-get install openssl" in capsys.readouterr().err


def test_setup_gives_the_keys_to_nobody_else(folder: Path) -> None:
    """Each of them to who serves with it; the authority's stays with the owner, its certificate is for all."""
    run(folder)

    keys = [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and b"PRIVATE" in path.read_bytes()
    ]
    https = [f"{holder}/https_certificate" for holder in ("hub", "listener", "owner", "webhook")]
    assert sorted(keys) == sorted(["mosquitto/certificate", "owner/mqtt_ca", *https])
    assert (folder / "owner" / "mqtt_ca").stat().st_mode & 0o777 == 0o600
    broker = (folder / "mosquitto" / "certificate").stat()
    assert broker.st_mode & 0o777 == 0o400
    if os.geteuid() == 0:
        assert broker.st_uid == UIDS["mosquitto"]
    public = (folder / "public" / "mqtt_ca").read_text()
    assert public == certificates.certificate_of((folder / "owner" / "mqtt_ca").read_text())


def test_setup_prints_the_certificate_that_a_device_needs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else on standard output: it goes into a file."""
    run(folder)
    capsys.readouterr()

    assert run(folder, "ca") == 0
    assert capsys.readouterr().out == (folder / "public" / "mqtt_ca").read_text()


def test_other_names_make_a_new_certificate_and_the_authority_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Devices keep what they trust; the broker must be told. Without the variable the names stay."""
    run(folder)
    authority = (folder / "public" / "mqtt_ca").read_bytes()
    assert "HUP" not in capsys.readouterr().err

    monkeypatch.setenv("PINLOOP_MQTT_TLS_NAMES", "garden.local")
    run(folder)

    said = capsys.readouterr().err
    assert "the broker has a new certificate: its names changed" in said
    assert "kill -HUP 1" in said
    server = (folder / "mosquitto" / "certificate").read_text()
    assert certificates.names_in(server) == [*certificates.BASE_NAMES, "garden.local"]
    assert (folder / "public" / "mqtt_ca").read_bytes() == authority

    monkeypatch.delenv("PINLOOP_MQTT_TLS_NAMES")
    run(folder)
    assert (folder / "mosquitto" / "certificate").read_text() == server
    assert capsys.readouterr().err == ""


def test_the_services_have_a_certificate_for_https_with_the_same_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their own in the stack in place of the broker's; a new one is taken over without anybody's help."""
    path = folder / "listener" / "https_certificate"
    run(folder)
    assert certificates.names_in(path.read_text()) == ["listener", "webhook", "hub", "localhost", "127.0.0.1"]
    monkeypatch.setenv("PINLOOP_MQTT_TLS_NAMES", "garden.local")
    run(folder)
    assert certificates.names_in(path.read_text())[-1] == "garden.local"
    assert "HTTPS has a new certificate: its names changed; the services take it over" in capsys.readouterr().err
    if os.geteuid() == 0:
        assert path.stat().st_uid == UIDS["listener"]
    before = {one: one.stat().st_mtime_ns for one in folder.rglob("*certificate")}
    run(folder)
    assert {one: one.stat().st_mtime_ns for one in folder.rglob("*certificate")} == before
    assert capsys.readouterr().err == ""


def test_an_authority_that_ends_soon_is_told_and_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A new one would lock every device out: that is for the owner to decide."""
    run(folder)
    old = certificates.make_authority(NOW, days=300)
    (folder / "owner" / "mqtt_ca").write_text(old)
    capsys.readouterr()

    assert run(folder) == 0

    assert f"ends on {certificates.ends(old):%Y-%m-%d}: delete {folder}/owner/mqtt_ca" in capsys.readouterr().err
    assert (folder / "owner" / "mqtt_ca").read_text() == old


def test_a_damaged_authority_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not replaced silently."""
    run(folder)
    (folder / "owner" / "mqtt_ca").write_text("rubbish")
    capsys.readouterr()

    assert run(folder) == 1
    assert capsys.readouterr().err.count("\n") == 1


def hello(port: int, ca_path: Path, latest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> tuple[datetime, str]:
    """Return when the certificate at a port ends, and the protocol that was spoken; strict as Python 3.13 is."""
    context = ssl.create_default_context(cafile=str(ca_path))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_ciphers("ALL:@SECLEVEL=0")  # so that an old protocol is refused by the broker, not by us
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = latest
    with (
        socket.create_connection(("127.0.0.1", port), 2) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as secure,
    ):
        found = secure.getpeercert()
        assert found
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC), str(secure.version())


@pytest.fixture
def listening(tmp_path: Path, folder: Path) -> Iterator[tuple[Broker, int]]:
    """A broker with the certificate that setup made and the stack's own lines for TLS; its port for TLS."""
    run(folder)
    port = free_port()
    conf = (Path(__file__).parents[2] / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
    lines = conf[conf.index("listener 8883") :].replace("/secrets", str(folder)).replace("8883", f"{port} 127.0.0.1")
    with running_broker(tmp_path / "broker", "allow_anonymous true\n" + lines) as broker:
        yield broker, port


def test_the_broker_speaks_tls_1_2_and_later(listening: tuple[Broker, int], folder: Path) -> None:
    """Older clients are refused."""
    _, port = listening
    ca_path = folder / "public" / "mqtt_ca"

    assert hello(port, ca_path)[1] == "TLSv1.3"
    assert hello(port, ca_path, ssl.TLSVersion.TLSv1_2)[1] == "TLSv1.2"
    with pytest.warns(DeprecationWarning, match="TLSv1"), pytest.raises((ssl.SSLError, ConnectionError)):
        hello(port, ca_path, ssl.TLSVersion.TLSv1_1)


def test_a_running_broker_takes_on_a_new_certificate(listening: tuple[Broker, int], folder: Path) -> None:
    """SIGHUP, as the note of setup says; nobody has to be cut off."""
    broker, port = listening
    ca_path = folder / "public" / "mqtt_ca"
    before, _ = hello(port, ca_path)
    shorter = certificates.make_server((folder / "owner" / "mqtt_ca").read_text(), certificates.BASE_NAMES, NOW, 900)
    write_file(folder / "mosquitto" / "certificate", shorter, 0o400)
    assert hello(port, ca_path)[0] == before
    with Client(broker) as client:
        assert broker.process is not None
        os.kill(broker.process.pid, signal.SIGHUP)
        until(lambda: hello(port, ca_path)[0] == certificates.ends(shorter), 5, "the new certificate")
        client.publish("still/here", "yes")

"""The certificate's files: what is refused before the service starts, what is told, and what is taken over later."""

import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pinloop.certificates import certificate_of, ends, make_authority
from service.errors import SettingsError
from service.health import Health
from service.http import HttpServer
from service.http_certificate import Certificate
from service.settings import HttpSettings, MqttSettings, read
from service.tls_serving import ends_of
from tests.support.https import Authority, ask
from tests.support.wait import until

DAY_S = 86400


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pairs(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two keys with their certificates, and one whose certificate has ended."""
    path = tmp_path_factory.mktemp("pairs") / "pair.pem"
    return [authority.put(path, days=days).read_text() for days in (30, 60, -1)]


@pytest.fixture
def cert(tmp_path: Path, pairs: list[str]) -> Path:
    """Key and certificate in one file."""
    path = tmp_path / "fullchain.pem"
    path.write_text(pairs[0])
    return path


def key_of(pair: str) -> str:
    return pair[: pair.index("-----BEGIN CERTIFICATE")]


def protected(pair: str) -> str:
    """Return the key, encrypted with a password."""
    words = ["openssl", "pkey", "-aes256", "-passout", "pass:secret"]
    return subprocess.run(words, input=key_of(pair), capture_output=True, text=True, check=True).stdout


_BAD: list[tuple[str, Callable[[list[str]], tuple[str | None, str | None]], str]] = [
    ("no file", lambda _: (None, ""), r"--http-tls-cert-path: '.*cert.pem' cannot be read \(No such file or directory"),
    ("noise", lambda _: ("noise", ""), "--http-tls-cert-path: '.*cert.pem' holds no certificate"),
    ("no end", lambda p: (certificate_of(p[0])[:-30], key_of(p[0])), "cert.pem' holds no certificate"),
    (
        "damaged",
        lambda p: (certificate_of(p[0]).replace("\nM", "\nA", 1), key_of(p[0])),
        "--http-tls-cert-path: '.*cert.pem' (holds no certificate|cannot be used)",
    ),
    ("no key", lambda p: (certificate_of(p[0]), ""), "--http-tls-cert-path: '.*cert.pem' holds no private key"),
    ("no key file", lambda p: (certificate_of(p[0]), None), "--http-tls-key-path: '.*key.pem' cannot be read"),
    (
        "noise as key",
        lambda p: (certificate_of(p[0]), "noise"),
        "--http-tls-key-path: '.*key.pem' holds no private key",
    ),
    (
        "another key",
        lambda p: (certificate_of(p[0]), key_of(p[1])),
        "--http-tls-key-path: '.*key.pem' must be the key of the first certificate in '.*cert.pem'",
    ),
    ("password", lambda p: (certificate_of(p[0]), protected(p[0])), "--http-tls-key-path: '.*key.pem' is encrypted"),
]


@pytest.mark.parametrize(("files", "words"), [one[1:] for one in _BAD], ids=[one[0] for one in _BAD])
def test_files_that_cannot_be_used_end_the_service_before_it_starts(
    tmp_path: Path, pairs: list[str], files: Callable[[list[str]], tuple[str | None, str | None]], words: str
):
    """One line that names the setting, the file and what is wrong. (None: the file is missing; "": not asked for.)"""
    certificate, key = files(pairs)
    environ = {"PINLOOP_HTTP_TLS_CERT_PATH": str(tmp_path / "cert.pem")}
    if certificate is not None:
        (tmp_path / "cert.pem").write_text(certificate)
    if key != "":
        environ["PINLOOP_HTTP_TLS_KEY_PATH"] = str(tmp_path / "key.pem")
    if key:
        (tmp_path / "key.pem").write_text(key)
    with pytest.raises(SettingsError, match=words) as error:
        read("pump", HttpSettings, [], environ)
    assert "\n" not in str(error.value)


def test_a_folder_and_a_key_alone_are_refused(tmp_path: Path):
    """The likeliest slips: certbot's folder in place of its file, half of the settings."""
    with pytest.raises(SettingsError, match=r"--http-tls-cert-path: '.*' cannot be read \(Is a directory\)"):
        HttpSettings(http_tls_cert_path=tmp_path)
    with pytest.raises(SettingsError, match="--http-tls-key-path: 'key.pem' needs the certificate"):
        HttpSettings(http_tls_key_path=Path("key.pem"))


def test_both_kinds_of_settings_look_at_their_own_files(tmp_path: Path, cert: Path):
    """A service has the broker's and its own: neither check hides the other."""

    @dataclass(frozen=True, kw_only=True)
    class Both(MqttSettings, HttpSettings):
        """As services have them."""

    for name in ("mqtt_ca_path", "http_tls_cert_path"):
        with pytest.raises(SettingsError, match=f"--{name.replace('_', '-')}"):
            Both(**{name: tmp_path / "none.pem"})
    Both(mqtt_ca_path=cert, http_tls_cert_path=cert)


def test_its_end_is_read_from_any_certificate(pairs: list[str]):
    """As openssl reads it: ours, one beyond 2050 (another form of time), and those that this machine trusts."""
    far = make_authority(datetime(2060, 1, 1, tzinfo=UTC))
    for text in (*pairs, far):
        assert ends_of(text) == ends(text)
    now_s = time.time()
    trusted = ssl.create_default_context()
    for der, facts in zip(trusted.get_ca_certs(binary_form=True), trusted.get_ca_certs(), strict=True):
        expected = ssl.cert_time_to_seconds(str(facts["notAfter"]))
        assert ends_of(ssl.DER_cert_to_PEM_cert(der)).timestamp() == expected, facts
    assert ends_of(far).timestamp() > now_s + 30 * 365 * DAY_S


def test_an_ended_certificate_is_served_and_told(cert: Path, pairs: list[str], monkeypatch: pytest.MonkeyPatch):
    """A warning of /readyz, not a refusal: the other port still works, and the clients say the rest."""
    cert.write_text(pairs[2])
    health = Health("pump")
    HttpServer(HttpSettings(http_tls_cert_path=cert), health)
    assert set(health._warnings) == {"certificate"}
    last = f"{ends(pairs[2]):%Y-%m-%d %H:%M} UTC"
    assert health._warnings["certificate"]() == f"'{cert}' ended on {last}: put a new one there"
    assert health.problems() == {}

    cert.write_text(pairs[0])
    certificate = Certificate(cert, Path())
    assert certificate.warning() is None
    soon_s = ends(pairs[0]).timestamp() - 6 * DAY_S
    monkeypatch.setattr("service.http_certificate.time.time", lambda: soon_s)
    assert "ends on" in (certificate.warning() or "")


def test_a_renewal_in_two_files_is_taken_over_when_both_are_there(tmp_path: Path, pairs: list[str]):
    """As certbot does it: links that change one after the other; between them the old pair stays, and that is told."""
    live = tmp_path / "live"
    live.mkdir()
    for number, pair in enumerate(pairs):
        (tmp_path / f"cert{number}.pem").write_text(certificate_of(pair))
        (tmp_path / f"key{number}.pem").write_text(key_of(pair))

    def point(name: str, number: int) -> None:
        (live / "new").symlink_to(tmp_path / f"{name}{number}.pem")
        (live / "new").replace(live / f"{name}.pem")

    point("cert", 0)
    point("key", 0)
    certificate = Certificate(live / "cert.pem", live / "key.pem")
    first = certificate.context
    point("cert", 1)
    certificate.look()
    assert certificate.context is first, "it may still be written"
    certificate.look()
    assert certificate.context is first, "the key is not its key"
    assert "must be the key of the first certificate" in (certificate.warning() or "")
    assert certificate.ends == ends(pairs[0])
    point("key", 1)
    certificate.look()
    certificate.look()
    assert certificate.warning() is None
    assert certificate.ends == ends(pairs[1])
    (live / "key.pem").unlink()
    certificate.look()
    certificate.look()
    assert "cannot be read" in (certificate.warning() or "")
    assert certificate.ends == ends(pairs[1])


@pytest.fixture
def server(cert: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    """A server that looks at its files whenever something happens."""
    monkeypatch.setattr("service.http._LOOK_S", 0)
    settings: dict[str, Any] = {"http_port": 0, "http_tls_port": 0, "http_tls_host": "127.0.0.1"}
    running = HttpServer(HttpSettings(**settings, http_tls_cert_path=cert), Health("pump"))
    running.start()
    yield running
    running.stop()


def test_a_renewed_certificate_serves_the_next_connection_and_cuts_off_nobody(
    server: HttpServer, authority: Authority, cert: Path, pairs: list[str], tmp_path: Path
):
    """No restart; a file that is no certificate changes nothing."""

    def seen() -> float:
        connection = authority.client(server.tls_port)
        assert ask(connection, "GET", "/healthz")[0] == 200
        found = connection.sock.getpeercert()
        connection.close()
        return ssl.cert_time_to_seconds(found["notAfter"])

    old, new = (ends(pair).timestamp() for pair in pairs[:2])
    stays = authority.client(server.tls_port)
    assert ask(stays, "GET", "/healthz")[0] == 200
    assert seen() == old
    shutil.copy(authority.ca_path, cert)  # no key in it
    until(lambda: "holds no private key" in str(ask(stays, "GET", "/readyz")[1]), 5, "it is told")
    assert seen() == old
    fresh = tmp_path / "fresh.pem"
    fresh.write_text(pairs[1])
    fresh.replace(cert)
    until(lambda: seen() == new, 5, "the new certificate")
    assert b'"warnings": {}' in ask(stays, "GET", "/readyz")[1]
    stays.close()

"""A private certificate authority and the broker's certificate, made with the `openssl` command.

`pinloop.setup` keeps both: the authority's key stays with the owner, its certificate goes to who must trust the
broker, the other key and certificate go to the broker. EC P-256: what an ESP32 computes in good time. Every
certificate is valid from 1970 on: a chip whose clock was never set believes it is the year 2000, and refuses one
that begins later. Strict as RFC 5280 asks: Python 3.13 and later check that.
"""

import ipaddress
import re
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

__all__ = [
    "AUTHORITY_DAYS",
    "BASE_NAMES",
    "RENEW_DAYS",
    "SERVER_DAYS",
    "CertificateError",
    "certificate_of",
    "ends",
    "make_authority",
    "make_server",
    "names_in",
    "openssl",
    "renewed",
    "split_names",
    "why_renew",
]

AUTHORITY_DAYS = 3653
SERVER_DAYS = 1826
# Setup runs when somebody says `up`, which may be once a year: 30 days would be missed too easily.
RENEW_DAYS = 365
# What the broker is called inside the stack and on its own machine.
BASE_NAMES = ("mosquitto", "localhost", "127.0.0.1")

_BEGINS = "19700101000000Z"
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\Z")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----\n", re.DOTALL)
_CONFIG = """\
[ca]
default_ca = authority
[authority]
database = issued
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = supplied
[req]
distinguished_name = name
[name]
[authority_certificate]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server_certificate]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


class CertificateError(Exception):
    """A certificate cannot be made or read; the message says why."""


def split_names(text: str) -> list[str]:
    """Return the host names and addresses in a comma-separated list, those of BASE_NAMES first, each once.

    Raises:
        CertificateError: a name is neither an address nor a host name.
    """
    names = dict.fromkeys(BASE_NAMES)
    for name in filter(None, (part.strip() for part in text.split(","))):
        address = _address(name)
        if not address and not _HOST.match(name):
            raise CertificateError(f"{name!r} is not a host name or an IP address")
        names[address or name.lower()] = None
    return list(names)


def make_authority(now: datetime, days: int = AUTHORITY_DAYS) -> str:
    """Return a new authority's key and certificate, PEM, in one text; it ends `days` after `now`.

    Raises:
        CertificateError: `openssl` is missing or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        key = _new_request(place, "Pinloop certificate authority", "")
        return key + _signed(place, "authority_certificate", now + timedelta(days=days), "-selfsign")


def make_server(authority: str, names: Sequence[str], now: datetime, days: int = SERVER_DAYS) -> str:
    """Return a new key and a certificate for a server with these names, PEM, in one text.

    Args:
        authority: what `make_authority` returned.
        names: host names and IP addresses; clients check the one that they dial.
        now: current time.
        days: until it ends; it never outlives the authority.

    Raises:
        CertificateError: `openssl` is missing or fails.
    """
    last = min(now + timedelta(days=days), ends(authority))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "authority").write_text(authority, encoding="ascii")
        spelled = ", ".join(("IP:" if _address(name) else "DNS:") + name for name in names)
        key = _new_request(place, "Pinloop broker", spelled)
        return key + _signed(place, "server_certificate", last, "-cert", "authority")


def why_renew(authority: str, server: str, names: Sequence[str] | None, now: datetime) -> str:
    """Return why the server needs a new certificate, "" when it does not.

    Args:
        authority, server: keys and certificates, PEM.
        names: those that it must have, None for whichever it has.
        now: current time.

    Raises:
        CertificateError: `openssl` is missing.
    """
    try:
        last = ends(server)
        known = names_in(server)
    except CertificateError:
        return "there was none" if not server else "it was damaged"
    if not _is_signed_by(authority, server):
        return "another authority signed it"
    if names is not None and {*known} != {*names}:
        return "its names changed"
    if last - now < timedelta(days=RENEW_DAYS) and last < ends(authority):
        return f"it ends on {last:%Y-%m-%d}"
    return ""


def renewed(authority: str, server: str, names: Sequence[str] | None, now: datetime) -> tuple[str, str]:
    """Return the server's key and certificate, made anew when needed, and why ("": it is the old one).

    Args and Raises: as `why_renew` and `make_server`.
    """
    reason = why_renew(authority, server, names, now)
    if not reason:
        return server, ""
    if names is None:
        try:
            names = names_in(server)
        except CertificateError:
            names = BASE_NAMES
    return make_server(authority, names, now), reason


def certificate_of(text: str) -> str:
    """Return the certificate in a PEM text that may hold a key as well: the part that is no secret.

    Raises:
        CertificateError: there is none.
    """
    found = _CERTIFICATE.search(text)
    if not found:
        raise CertificateError("there is no certificate (PEM)")
    return found.group()


def ends(text: str) -> datetime:
    """Return when the certificate in a PEM text ends.

    Raises:
        CertificateError: `openssl` is missing or cannot read it.
    """
    said = openssl("x509", "-noout", "-enddate", text=certificate_of(text))
    return datetime.strptime(said.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)


def names_in(text: str) -> list[str]:
    """Return the host names and addresses of the certificate in a PEM text.

    Raises:
        CertificateError: `openssl` is missing or cannot read it.
    """
    said = openssl("x509", "-noout", "-ext", "subjectAltName", text=certificate_of(text))
    found = re.findall(r"(?:DNS|IP Address):([^,\s]+)", said)
    return [_address(name) or name for name in found]


def _address(name: str) -> str:
    """Return an IP address in its usual spelling, "" when `name` is none."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return ""


def _new_request(place: Path, subject: str, names: str) -> str:
    """Make a key and a request for a certificate in the folder `place`; return the key."""
    (place / "config").write_text(_CONFIG.format(names=names or "DNS:none"), encoding="ascii")
    (place / "issued").touch()
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key", place=place)
    openssl("req", "-new", "-config", "config", "-key", "key", "-subj", f"/CN={subject}", "-out", "wish", place=place)
    return (place / "key").read_text(encoding="ascii")


def _signed(place: Path, extensions: str, last: datetime, *signer: str) -> str:
    """Return the certificate for the request in `place`."""
    # `openssl ca`, not `req -x509`: only it takes a first day before OpenSSL 3.4.
    key = "authority" if "authority" in signer else "key"
    days = ("-startdate", _BEGINS, "-enddate", f"{last:%Y%m%d%H%M%SZ}")
    words = ("-batch", "-notext", "-config", "config", "-extensions", extensions, "-in", "wish", "-out", "made")
    openssl("ca", *words, *days, "-keyfile", key, *signer, place=place)
    return (place / "made").read_text(encoding="ascii")


def _is_signed_by(authority: str, server: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "authority").write_text(certificate_of(authority), encoding="ascii")
        words = ("-x509_strict", "-no_check_time", "-purpose", "sslserver", "-CAfile", "authority")
        try:
            openssl("verify", *words, place=Path(folder), text=certificate_of(server))
        except CertificateError:
            return False
    return True


def openssl(*words: str, place: Path | None = None, text: str = "") -> str:
    """Run `openssl WORDS` in the folder `place` with `text` as its input; return what it prints.

    Raises:
        CertificateError: it is missing or fails.
    """
    try:
        done = subprocess.run(["openssl", *words], cwd=place, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CertificateError("the command openssl is missing; Debian: apt-get install openssl") from None
    if done.returncode:
        lines = (done.stderr.strip() or "no reason given").splitlines()
        raise CertificateError(f"`openssl {words[0]}` failed: {lines[-1]}")
    return done.stdout

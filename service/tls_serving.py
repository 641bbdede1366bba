"""A server's certificate and key: read, checked in the words of the settings, and when it ends."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from service.errors import SettingsError

__all__ = ["ends_of", "serving"]


def serving(cert_path: Path, key_path: Path) -> tuple[ssl.SSLContext, datetime]:
    """Return a server's context (TLS 1.2 at least) and when its certificate ends.

    Args:
        cert_path: the certificate, and behind it those between it and the authority, PEM.
        key_path: its private key, PEM; empty: it is in `cert_path`.

    Raises:
        SettingsError: a file cannot be read or used, or the key is of another certificate.
    """
    cert, key = (_read(flag, path) for flag, path in _named(cert_path, key_path))
    key_flag, key_place = _named(cert_path, key_path)[1]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could have the server compute for ever
    context.set_alpn_protocols(["http/1.1"])
    try:
        ends = ends_of(cert)
    except ValueError:
        raise SettingsError(f"--http-tls-cert-path: {str(cert_path)!r} holds no certificate (PEM)") from None
    if "PRIVATE KEY-----" not in key:
        raise SettingsError(f"{key_flag}: {str(key_place)!r} holds no private key (PEM)")

    def ask_nobody() -> bytes:
        raise SettingsError(f"{key_flag}: {str(key_place)!r} is encrypted; it must be without a password")

    try:
        context.load_cert_chain(cert_path, key_path if key_path.name else None, ask_nobody)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"{key_flag}: {str(key_place)!r} must be the key of the first certificate in {str(cert_path)!r}"
            ) from None
        raise SettingsError(f"--http-tls-cert-path: {str(cert_path)!r} cannot be used ({error.reason})") from None
    return context, ends


def ends_of(pem: str) -> datetime:
    """Return when the first certificate in a PEM text ends.

    Steps (RFC 5280 4.1): Certificate > TBSCertificate > version (if there is one), serial number, signature, issuer,
    validity > notBefore, notAfter.

    Raises:
        ValueError: there is none.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    _, found, rest = pem.partition(begin)
    if not found or end not in rest:
        raise ValueError("no certificate")
    der = ssl.PEM_cert_to_DER_cert(begin + rest.partition(end)[0] + end)
    try:
        _, at, _ = _element(der, 0)
        _, at, _ = _element(der, at)
        tag, _, after = _element(der, at)
        if tag == 0xA0:  # the version
            at = after
        for _ in range(3):
            _, _, at = _element(der, at)
        _, at, _ = _element(der, at)
        _, _, at = _element(der, at)
        tag, at, after = _element(der, at)
    except IndexError:
        raise ValueError("no certificate") from None
    form = "%y%m%d%H%M%SZ" if tag == 0x17 else "%Y%m%d%H%M%SZ"  # UTCTime, GeneralizedTime
    return datetime.strptime(der[at:after].decode("latin-1"), form).replace(tzinfo=UTC)


def _named(cert_path: Path, key_path: Path) -> list[tuple[str, Path]]:
    """Return (flag, path) of the certificate and of the key."""
    cert = "--http-tls-cert-path", cert_path
    return [cert, ("--http-tls-key-path", key_path) if key_path.name else cert]


def _read(flag: str, path: Path) -> str:
    try:
        return path.read_text(encoding="latin-1")
    except OSError as error:
        raise SettingsError(f"{flag}: {str(path)!r} cannot be read ({error.strerror})") from None


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return (tag, where its content begins, where it ends) of the DER element at an offset (X.690 8.1).

    Raises:
        IndexError: the bytes end before.
    """
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        size_bytes = length & 0x7F
        length, start = int.from_bytes(der[start : start + size_bytes]), start + size_bytes
    return tag, start, start + length

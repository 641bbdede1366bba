"""TLS towards the broker: whom a service trusts, in words why a handshake failed, and how long a certificate lasts."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from service.errors import SettingsError

__all__ = ["ends", "refusal", "trusting"]

# OpenSSL's X509_V_ERR_ numbers, for those that an operator meets; the others speak for themselves.
_REASONS = {
    7: "another authority signed it",
    9: "it is not valid yet: look at this machine's clock",
    10: "it has ended",
    18: "another authority signed it",
    19: "another authority signed it",
    20: "another authority signed it",
    21: "another authority signed it",
    62: "it is for other host names",
    64: "it is for other addresses",
}


def trusting(ca_path: Path) -> ssl.SSLContext:
    """Return a context that takes only certificates of this authority for the host that is dialled; TLS 1.2 at least.

    Raises:
        SettingsError: the file cannot be read or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca_path))
    except ssl.SSLError:
        raise SettingsError(f"--mqtt-ca-path: {str(ca_path)!r} holds no certificate (PEM)") from None
    except OSError as error:
        raise SettingsError(f"--mqtt-ca-path: {str(ca_path)!r} cannot be read ({error.strerror})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Python leaves it to the system's OpenSSL, and some allow less
    return context


def refusal(error: BaseException | None) -> str:
    """Say what was wrong when a connection with TLS failed, "" when nobody was there."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {_REASONS.get(error.verify_code, error.verify_message)}"
    if isinstance(error, ConnectionResetError | ssl.SSLEOFError):  # mosquitto, addressed with TLS at its plain port
        return "it closes the connection during the handshake: is this its port for TLS?"
    return f"TLS fails: {error.reason or error}" if isinstance(error, ssl.SSLError) else ""


def ends(sock: object) -> datetime | None:
    """Return when the certificate of the other side of a connection ends, None without TLS."""
    found = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    last = found.get("notAfter") if found else None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(last), UTC) if isinstance(last, str) else None

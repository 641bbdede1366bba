"""The token with which the webhook reads Grafana's active alerts, and the key by which Grafana knows it.

Grafana takes a signed token (JWT) that fits a public key in its configuration. So the token is made before Grafana has
ever run: nobody has to ask for it, and the webhook needs no password of Grafana's. The key that signed it is thrown
away: no other token can be made. What its holder may do stands not in the token but in Grafana's configuration
(docker-compose.yml): Viewer.
"""

import base64
import json
import tempfile
from pathlib import Path

from pinloop.certificates import openssl

__all__ = ["GRAFANA_USER", "make_token"]

GRAFANA_USER = "pinloop-webhook"  # Grafana adds it to its users when it first comes

_NUMBER_BYTES = 32  # of the two that are a signature on P-256


def make_token() -> tuple[str, str]:
    """Return (token, PEM of the public key that it fits). It has no end, as InfluxDB's tokens have none.

    ES256 is what every Grafana takes: some versions took nothing else.

    Raises:
        CertificateError: `openssl` is missing or fails.

    Source: RFC 7515 section 3.1 and RFC 7518 section 3.4; Grafana's documentation of [auth.jwt].
    """
    signed = f"{_coded({'alg': 'ES256', 'typ': 'JWT'})}.{_coded({'sub': GRAFANA_USER})}"
    with tempfile.TemporaryDirectory() as folder:
        key = str(Path(folder, "key"))
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        public = openssl("pkey", "-in", key, "-pubout")
        said = openssl("dgst", "-sha256", "-hex", "-sign", key, text=signed)  # as "EC-SHA2-256(stdin)= 3045..."
    return f"{signed}.{_base64(_numbers(bytes.fromhex(said.split('= ')[1])))}", public


def _numbers(der: bytes) -> bytes:
    """Return a signature as JWS has it, two numbers side by side, from the DER that `openssl` gives."""
    first_size = der[3]
    first, second = der[4 : 4 + first_size], der[6 + first_size :]
    return b"".join(int.from_bytes(number).to_bytes(_NUMBER_BYTES) for number in (first, second))


def _coded(said: dict[str, str]) -> str:
    return _base64(json.dumps(said, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

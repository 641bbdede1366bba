"""Signing: HMAC-SHA256 over time and body, as Grafana 12 and later sign their notices.

What is signed is `<seconds since 1970>:<body>`; the lowercase hex digest and the
seconds go in two headers. A signature counts once at the webhook.

Source: grafana/alerting, http/hmac.go: the signature's header is
X-Grafana-Alerting-Signature unless the contact point names another one, the one
with the time has no default there.
"""

import hashlib
import hmac
import time
from collections.abc import Callable

__all__ = ["SIGNATURE_HEADER", "TIMESTAMP_HEADER", "Signer", "sign"]

SIGNATURE_HEADER = "X-Grafana-Alerting-Signature"
TIMESTAMP_HEADER = "X-Grafana-Alerting-Timestamp"


def sign(key: bytes, seconds: str, body: bytes) -> bytes:
    """Return the signature, 32 bytes."""
    digest = hmac.new(key, seconds.encode() + b":", hashlib.sha256)
    digest.update(body)
    return digest.digest()


class Signer:
    """Signs what one sender posts.

    Args:
        key: the secret that sender and receiver share.
        timestamp_header: name of the header with the time.
        clock: seconds since 1970.
    """

    def __init__(
        self, key: str, timestamp_header: str = TIMESTAMP_HEADER, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = key.encode()
        self._timestamp_header = timestamp_header
        self._clock = clock
        self._last = (b"", 0)  # body and seconds of the signature before

    def headers(self, body: bytes) -> dict[str, str]:
        """Return the headers that sign a request with this body."""
        seconds = int(self._clock())
        # The same body in the same second would have the same signature, which counts once: a retry after 50 ms would
        # be refused until the second is over. It may be 300 s ahead, and retries wait for longer and longer.
        if body == self._last[0] and seconds <= self._last[1] <= seconds + 60:
            seconds = self._last[1] + 1
        self._last = body, seconds
        return {
            SIGNATURE_HEADER: sign(self._key, str(seconds), body).hex(),
            self._timestamp_header: str(seconds),
        }

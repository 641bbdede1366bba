"""Signatures: HMAC-SHA256 over time and body, as Grafana 12 and later sign their notices.

`service.signing` says what is signed. A signature without a time could be
used for ever and is refused. A signature counts once: the same body signed
again (by the other Grafana of a pair, or at the next repetition) carries
another time and so another signature.

Source: grafana/alerting, http/hmac.go; the header is X-Grafana-Alerting-Signature
in its code and X-Grafana-Alert-Signature in a comment of it, so both are taken.
"""

import hmac
import re

from werkzeug.datastructures import Headers

from service.signing import SIGNATURE_HEADER, sign
from webhook.access.replays import Full, Replays
from webhook.problems import Refusal

__all__ = ["HEADERS", "WINDOW_S", "Signatures"]

HEADERS = (SIGNATURE_HEADER, "X-Grafana-Alert-Signature")
WINDOW_S = 300
_HEX = re.compile(r"[0-9a-f]{64}")
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


class Signatures:
    """Checks signatures.

    Args:
        key: the secret that sender and webhook share.
        timestamp_header: name of the header with the time.
        replays: those that were used.
    """

    def __init__(self, key: str, timestamp_header: str, replays: Replays) -> None:
        self._key = key.encode()
        self._timestamp_header = timestamp_header
        self._replays = replays

    def given(self, headers: Headers) -> bool:
        """Tell whether the request carries a signature, right or wrong."""
        return any(name in headers for name in HEADERS)

    def check(self, headers: Headers, body: bytes, now_s: float) -> None:
        """Return when the request is signed, fresh, and not seen before.

        Raises:
            Refusal: 401, or 429 when it cannot be remembered.
        """
        given = {headers[name].strip().lower() for name in HEADERS if name in headers}
        seconds = headers.get(self._timestamp_header, "")
        if not given:
            raise Refusal(401, "signature", f"{HEADERS[0]}: is missing")
        if not _SECONDS.fullmatch(seconds):
            rule = "is missing or not whole seconds since 1970; name this header in the sender's HMAC settings"
            raise Refusal(401, "timestamp", f"{self._timestamp_header}: {rule}")
        text = given.pop()
        expected = sign(self._key, seconds, body)
        if given or not _HEX.fullmatch(text) or not hmac.compare_digest(bytes.fromhex(text), expected):
            raise Refusal(401, "signature", f"{HEADERS[0]}: is not the signature of this time and body")
        # Only who has the key learns that the clocks differ.
        apart_s = round(now_s - int(seconds))
        if abs(apart_s) > WINDOW_S:
            rule = f"is {apart_s} s behind this clock, more than {WINDOW_S}: look at both clocks"
            raise Refusal(401, "timestamp", f"{self._timestamp_header}: {seconds} {rule}")
        try:
            first = self._replays.first_use(expected, int(seconds) + WINDOW_S, now_s)
        except Full:
            raise Refusal(
                429, "replays_full", "signature: too many in 5 minutes to remember all", Retry_After="30"
            ) from None
        if not first:
            raise Refusal(401, "replay", f"{HEADERS[0]}: was used before")

"""`POST /telemetry` and `POST /device`: readings that gateways bring over HTTP.

Answered 200 only when the points are in the store, the spool or the dead-letter file. A gateway that got no answer
sends the same again: the same body within ten minutes is the same delivery. Where an item says no time, it is that
only until it was answered 200: a sensor that shows the same value a minute later has been read twice.
"""

import base64
import binascii
import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client import Counter

from inputs.gateway.accounts import Account, holder
from inputs.gateway.decode import TOPIC
from inputs.times import instant
from listener.gateway_items import BadRequestError, batch_of, messages, single_of, sort
from listener.handover import Handover
from service import logs

__all__ = ["GatewayApi"]

_SAFE_S = 10.0
_MOST_WAITING = 4  # of the server's eight threads: /readyz answers while the store does not
_SAME_S = 600.0
_MOST_REMEMBERED = 2000
_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed",
    411: "Length Required", 503: "Service Unavailable",
}  # fmt: skip

POSTS = Counter("listener_gateway_posts_total", "Requests of gateways by the status that answered them.", ["status"])
ITEMS = Counter("listener_gateway_items_total", "Items of gateways: stored, unknown, rejected.", ["outcome"])

Answer = tuple[int, dict[str, Any]]

_NOBODY = (
    "no gateway is declared: `pinloop gateway add ID --device NAME` writes one into inputs.toml and prints its token;"
    " then restart the listener (its setting inputs_path names the file)"
)


class GatewayApi:
    """The WSGI application.

    Args:
        gateways: who may post; nobody: each request is told how one is declared.
        handover: the way to the store.
    """

    def __init__(
        self, gateways: Sequence[Account], handover: Handover, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._gateways = gateways
        self._handover = handover
        self._clock = clock
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)
        self._lock = threading.Lock()
        # digest of gateway and body -> (when, for each of its messages what tells that it is safe)
        self._recent: OrderedDict[bytes, tuple[float, list[threading.Event]]] = OrderedDict()
        self._log = logs.get("gateways")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        try:
            status, body = self._answer(environ)
        except Exception:  # noqa: BLE001  (never 500: a gateway may drop what it sent)
            self._log.exception("request failed")
            status, body = 503, {"error": "the listener failed on this request; send it again later"}
        POSTS.labels(str(status)).inc()
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        extra = {401: ("WWW-Authenticate", 'Bearer realm="pinloop"'), 405: ("Allow", "POST"), 503: ("Retry-After", "5")}
        if status in extra:
            headers.append(extra[status])
        start_response(f"{status} {_REASONS[status]}", headers)
        return [json.dumps(body).encode() + b"\n"]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path = environ["PATH_INFO"].rstrip("/")
        if path not in ("/telemetry", "/device"):
            return 404, {"error": "there is POST /telemetry and POST /device"}
        if not self._gateways:
            return 404, {"error": _NOBODY}
        if environ["REQUEST_METHOD"] != "POST":
            return 405, {"error": "only POST"}
        account = holder(self._gateways, _token(environ.get("HTTP_AUTHORIZATION", "")))
        if account is None:
            return 401, {"error": "no gateway has this token: `pinloop gateway add` makes one"}
        body = environ["wsgi.input"].read()
        try:
            items = batch_of(body, account) if path == "/telemetry" else single_of(body)
            found = sort(items, account)
            made = messages(found)
        except RecursionError:
            return 400, {"error": "the body is nested too deep"}
        except BadRequestError as error:
            return 400, {"error": str(error)}
        said: dict[str, Any] = {"stored": found.stored, "unknown": found.unknown, "rejected": found.rejected[:100]}
        # 0, from a clock that was never set, is no time: it is the same with every reading.
        timed = all(instant(item.get("timestamp")) for items in found.known.values() for item in items)
        problem = self._deliver(account.id.encode() + b"\0" + body, made, timed)
        if problem:
            return 503, {"error": problem}
        for outcome, count in (("stored", found.stored), ("unknown", len(items) - found.stored - len(found.rejected)),
                               ("rejected", len(found.rejected))):  # fmt: skip
            ITEMS.labels(outcome).inc(count)
        return 200, said

    def _deliver(self, identity: bytes, made: Sequence[bytes], timed: bool) -> str:
        """Hand messages over and wait until they are safe; return what is wrong, "" for nothing.

        Args:
            timed: they say when they were read, so that they are the same delivery whenever they come again.
        """
        if not made:
            return ""
        if not self._waiting.acquire(blocking=False):
            return "too many requests wait for the store; send it again"
        try:
            digest = hashlib.sha256(identity).digest()
            safe = self._handed(digest, made)
            end_s = time.monotonic() + _SAFE_S
            if len(safe) < len(made) or not all(one.wait(max(0.0, end_s - time.monotonic())) for one in safe):
                return "the store does not take it now; send it again"
            if not timed:
                with self._lock:
                    self._recent.pop(digest, None)
            return ""
        finally:
            self._waiting.release()

    def _handed(self, digest: bytes, made: Sequence[bytes]) -> list[threading.Event]:
        """Return what tells that this request is safe: an earlier one with the same body counts, if it was just now."""
        now_s = self._clock()
        with self._lock:
            while self._recent and (
                len(self._recent) > _MOST_REMEMBERED or now_s - next(iter(self._recent.values()))[0] > _SAME_S
            ):
                self._recent.popitem(last=False)
            at_s, safe = self._recent.get(digest, (now_s, []))
            for message in made[len(safe) :]:  # those for which there was no room the first time
                one = self._handover.put(TOPIC, message)
                if one is None:
                    break
                safe.append(one.safe)
            self._recent[digest] = (at_s, safe)
            return safe


def _token(authorization: str) -> str:
    """Return the token of `Bearer TOKEN`, or the password of `Basic ...`, "" for neither."""
    kind, _, rest = authorization.partition(" ")
    if kind.lower() == "bearer":
        return rest.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""

"""The poster: one thread and one connection that tell the webhook how each alert stands.

Of each alert only the newest notification is kept while the webhook is away:
nothing is lost, and nothing that is over by then is sent. What comes while a
request is under way goes with the next one, at once: there is no batching
delay.
"""

import base64
import random
import threading
import time
from collections.abc import Callable, Sequence

import msgspec
import urllib3

from rules import metrics
from rules.alerts import Alert, body
from rules.evaluate import FIRING
from service import logs
from service.signing import Signer

__all__ = ["Poster"]

_MOST_PER_REQUEST = 200  # about 100 kB; the webhook takes 1 MB
_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 2.0
# The webhook answers when the command is acknowledged by the broker, or after 2 s.
_TIMEOUT = urllib3.Timeout(connect=2, read=5)
# The webhook will not take this body however often it is sent. Everything else (401, 404, 5xx) ends when somebody
# mends the set-up, and what the alerts say then still counts.
_REFUSED = (400, 413)


class _Result(msgspec.Struct):
    fingerprint: str = ""
    outcome: str = ""
    reason: str = ""


class _Answer(msgspec.Struct):
    results: list[_Result] = []


class Poster:
    """Posts alerts.

    Args:
        url: of the webhook's /alert.
        user, password: for Basic auth; with an empty password none is sent.
        on_delivered: called on the poster's thread with the alerts that the webhook took.
        on_stale: called on it with those that fire, and of which the webhook knows a later word.
        signer: signs each request; None: none is signed.
        clock: seconds that never jump.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        on_delivered: Callable[[Sequence[Alert]], None],
        on_stale: Callable[[Sequence[Alert]], None],
        signer: Signer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem: str | None = None
        self._url = url
        self._path = urllib3.util.parse_url(url).request_uri
        # One connection, kept open; a stale one is noticed before it is used. urllib3 sets TCP_NODELAY.
        self._pool = urllib3.connection_from_url(url, maxsize=1, timeout=_TIMEOUT, retries=False)
        self._headers = {"Content-Type": "application/json", "User-Agent": "pinloop-rules"}
        if password:
            credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {credentials}"
        self._on_delivered = on_delivered
        self._on_stale = on_stale
        self._signer = signer
        self._clock = clock
        self._log = logs.get("poster")
        self._wake = threading.Condition()
        self._waiting: dict[str, tuple[Alert, float]] = {}  # keyed by fingerprint: the newest, and since when
        self._failures = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="poster", daemon=True)

    def start(self) -> None:
        """Post in the background."""
        self._thread.start()

    def put(self, alerts: Sequence[Alert], since_s: float) -> None:
        """Tell the webhook how these alerts stand; returns at once.

        Args:
            alerts: each replaces what was waiting for its fingerprint.
            since_s: when the reading came that changed them, by `clock`.
        """
        with self._wake:
            for alert in alerts:
                # Insertion order is sending order: what is replaced goes to the end.
                self._waiting.pop(alert.fingerprint, None)
                self._waiting[alert.fingerprint] = (alert, since_s)
            metrics.WAITING.set(len(self._waiting))
            self._wake.notify()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Stop; what waits is tried once more. The rest is in the state database."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._pool.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopping:
                    self._wake.wait()
                batch = dict(list(self._waiting.items())[:_MOST_PER_REQUEST])
                for key in batch:
                    del self._waiting[key]
                last = self._stopping
            if batch and not self._sent(batch):
                self._put_back(batch)
                if last:
                    return
                self._back_off()
            elif last and not self._waiting:
                return

    def _sent(self, batch: dict[str, tuple[Alert, float]]) -> bool:
        """Return whether a body is done with; what nobody thought of must not end the posting."""
        try:
            return self._send(batch)
        except Exception as error:  # noqa: BLE001
            self._log.exception("posting failed")
            self._failed(f"was not told: {type(error).__name__}: {error}", len(batch))
            return False

    def _send(self, batch: dict[str, tuple[Alert, float]]) -> bool:
        """Post one body; return whether it is done with (taken, or refused for good)."""
        alerts = [alert for alert, _ in batch.values()]
        said = body(alerts)
        signed = self._signer.headers(said) if self._signer else {}
        try:
            answer = self._pool.urlopen("POST", self._path, body=said, headers={**self._headers, **signed})
            status, text = answer.status, answer.data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._failed(f"cannot be reached ({error})", len(batch))
            return False
        if not 200 <= status < 300 and status not in _REFUSED:
            self._failed(f"answers {status}: {text[:200].decode(errors='replace').strip()}", len(batch))
            return False
        self.problem = None
        self._failures = 0
        if status in _REFUSED:
            metrics.NOTIFICATIONS.labels(metrics.REFUSED).inc(len(batch))
            self._log.error("the webhook refuses", status=status, answer=text[:200], alerts=len(batch))
            return True
        now_s = self._clock()
        for alert, since_s in batch.values():
            metrics.POST_SECONDS.observe(now_s - since_s)
            self._log.debug("posted", rule=alert.key[0], device=alert.key[1], status=alert.status)
        stale = self._read_answer(text, batch)
        taken = [alert for alert in alerts if alert not in stale]
        metrics.NOTIFICATIONS.labels(metrics.DELIVERED).inc(len(taken))
        self._on_delivered(taken)
        if stale:
            metrics.NOTIFICATIONS.labels(metrics.STALE).inc(len(stale))
            self._on_stale(stale)
        with self._wake:
            metrics.WAITING.set(len(self._waiting))
        return True

    def _read_answer(self, text: bytes, batch: dict[str, tuple[Alert, float]]) -> list[Alert]:
        """Log what the webhook took but will not act on; return the firing alerts that are stale to it."""
        try:
            results = msgspec.json.decode(text, type=_Answer).results
        except (ValueError, RecursionError):  # another receiver of Alertmanager's format
            return []
        stale = []
        for result in results:
            if result.fingerprint not in batch:
                continue
            alert = batch[result.fingerprint][0]
            rule, device = alert.key
            if result.outcome == "ignored":
                self._log.warning("the webhook ignores", rule=rule, device=device, reason=result.reason)
            elif result.outcome == "stale" and alert.status == FIRING:  # one that ended may well be known to have
                self._log.warning("stale to the webhook", rule=rule, device=device, starts_at_s=alert.starts_at_s)
                stale.append(alert)
        return stale

    def _failed(self, what: str, count: int) -> None:
        metrics.NOTIFICATIONS.labels(metrics.RETRIED).inc(count)
        if not self._failures:  # once for each time that it goes away
            self._log.warning("webhook " + what, url=self._url, waiting=count)
        self._failures += 1
        self.problem = f"the webhook at {self._url} {what}"

    def _put_back(self, batch: dict[str, tuple[Alert, float]]) -> None:
        with self._wake:
            # What came meanwhile is newer than what could not be sent.
            self._waiting = {**batch, **self._waiting}
            metrics.WAITING.set(len(self._waiting))

    def _back_off(self) -> None:
        ceiling = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** min(self._failures - 1, 10))
        deadline_s = time.monotonic() + random.uniform(ceiling / 2, ceiling)  # noqa: S311  (jitter is no secret)
        with self._wake:
            while not self._stopping and (left_s := deadline_s - time.monotonic()) > 0:
                self._wake.wait(left_s)

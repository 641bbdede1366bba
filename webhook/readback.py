"""Reading back: asks Grafana or Alertmanager what is firing, so that the claims equal it.

A notification is sent once and can be lost: "firing" while this service was
away, "resolved" for ever (Grafana never retries, and forgets after minutes). So
the list of active alerts is read at the start and every `readback_s`. What
cannot be read changes nothing: claims then end by themselves, as without it.
"""

import base64
import threading
import time
from collections.abc import Callable

import urllib3

from contract.errors import ContractError
from service import logs
from service.http_url import check_http_url
from webhook import metrics
from webhook.active import active_alerts
from webhook.follower import ALERTMANAGER, GRAFANA, Follower, Source
from webhook.publisher import Publisher
from webhook.settings import Settings

__all__ = ["Readback", "sources_of"]

_PATHS = {GRAFANA: "/api/alertmanager/grafana/api/v2/alerts", ALERTMANAGER: "/api/v2/alerts"}

_TIMEOUT = urllib3.Timeout(connect=2, read=10)
# A body that comes in drips would never end otherwise, and the claims would not be followed any more, silently.
_WHOLE_S = 30.0
_BLOCK_BYTES = 1 << 16
# About 50,000 alerts; more than that is not a list of alerts.
_MOST_BYTES = 1 << 26
# Grafana locks a user out after five wrong passwords within five minutes: the owner, too, if it is theirs.
_CREDENTIALS_S = 600.0


class Readback:
    """Reads one source in its own thread until `stop`.

    Args:
        every_s: seconds between two reads.
        grace_s: after a read that failed, absence counts for nothing for so many seconds: whoever has just started does
            not know yet what is firing.
    """

    def __init__(
        self,
        source: Source,
        follower: Follower,
        sender: Publisher,
        every_s: float,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._follower = follower
        self._sender = sender
        self._every_s = every_s
        self._grace_s = grace_s
        self._clock = clock
        self._trusted_from_s = 0.0
        self._failure = ""
        self._http = urllib3.PoolManager(num_pools=1, maxsize=1, timeout=_TIMEOUT, retries=False)
        self._headers = {"Accept": "application/json", "User-Agent": "pinloop-webhook", **_credentials(source)}
        self._log = logs.get("readback")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"readback-{source.dialect}", daemon=True)

    def start(self) -> None:
        """Read now, and then every `every_s` seconds."""
        self._thread.start()

    def stop(self) -> None:
        """End; a read that is under way is not waited for longer than it may take."""
        self._stopping.set()
        self._thread.join(timeout=5)

    def problem(self) -> str | None:
        """Say why the last read failed, None when it did not; a check for `Health`."""
        return self._failure or None

    def _run(self) -> None:
        while not self._stopping.wait(self.read()):
            pass

    def read(self) -> float:
        """Read once and follow what it says; return the seconds until the next read.

        A failure is counted and told, and changes nothing.
        """
        asked_s = time.time()
        failure, outcome = "", "ok"
        try:
            listed = active_alerts(self._fetch(), self._source.name)
            may_end = self._clock() >= self._trusted_from_s
            self._sender.carry_out(lambda: self._follower.follow(listed, asked_s, time.time(), may_end))
        except _CredentialsError as error:
            failure, outcome = str(error), "credentials"
        except _RefusedError as error:
            failure, outcome = str(error), "refused"
        except ContractError as error:
            failure, outcome = str(error), "unreadable"
        except urllib3.exceptions.HTTPError as error:
            failure, outcome = f"{self._source.url} does not answer ({type(error).__name__})", "unreachable"
        except Exception as error:  # noqa: BLE001  (a full disk: the next read comes)
            failure, outcome = f"{type(error).__name__}: {error}", "failed"
        metrics.READBACKS.labels(self._source.dialect, outcome).inc()
        metrics.READBACK_OK.labels(self._source.dialect).set(not failure)
        if failure:
            self._follower.forget_absences()
            self._trusted_from_s = self._clock() + self._grace_s
        if failure != self._failure:
            if failure:
                self._log.warning("active alerts not read", source=self._source.dialect, reason=failure)
            else:
                self._log.info("active alerts are read", source=self._source.dialect, url=self._source.url)
        self._failure = failure
        return max(self._every_s, _CREDENTIALS_S) if outcome == "credentials" else self._every_s

    def _fetch(self) -> bytes:
        url = self._source.url.rstrip("/") + _PATHS[self._source.dialect]
        whole = False
        answer = self._http.request("GET", url, headers=self._headers, redirect=False, preload_content=False)
        try:
            if answer.status in (401, 403):
                raise _CredentialsError(f"{url} answers {answer.status}: wrong user, password or token")
            if answer.status != 200:
                raise _RefusedError(f"{url} answers {answer.status}")
            body = bytearray()
            begun_s = self._clock()
            while block := answer.read1(_BLOCK_BYTES):
                body += block
                if len(body) > _MOST_BYTES:
                    raise _RefusedError(f"{url} answers more than {_MOST_BYTES} bytes")
                if self._clock() - begun_s > _WHOLE_S or self._stopping.is_set():
                    raise _RefusedError(f"{url} has not answered all within {_WHOLE_S:g} s")
            whole = True
            return bytes(body)
        finally:
            if whole:
                answer.release_conn()
            else:
                answer.close()  # what is still to come of it must not be taken for the next answer


class _RefusedError(Exception):
    """It answered, and not with the list."""


class _CredentialsError(_RefusedError):
    """It does not know us."""


def _credentials(source: Source) -> dict[str, str]:
    if source.token:
        return {"Authorization": f"Bearer {source.token}"}
    if source.user:
        word = base64.b64encode(f"{source.user}:{source.password}".encode()).decode()
        return {"Authorization": f"Basic {word}"}
    return {}


def sources_of(settings: Settings) -> list[Source]:
    """Return who is to be asked.

    Raises:
        SettingsError: a URL is none, or holds a password.
    """
    found = [
        Source(
            GRAFANA,
            settings.grafana_url,
            settings.grafana_user,
            settings.grafana_password,
            settings.grafana_token,
            settings.grafana_receiver,
        ),
        Source(ALERTMANAGER, settings.alertmanager_url, settings.alertmanager_user, settings.alertmanager_password),
    ]
    for source in found:
        if source.url:
            check_http_url(f"{source.dialect}_url", source.url, f"{source.dialect}_user and {source.dialect}_password")
    return [source for source in found if source.url]

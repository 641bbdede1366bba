"""The webhook's view of pins and alerts, kept up to date in the picture.

One thread asks every second, and at once when a pin changed on the broker;
the explanation of a pin is asked again when its claims did. While the webhook
is away the last view stays, marked as such by the link.
"""

import threading
from typing import Any

from hub.live import Picture
from hub.webhook_client import Refused, WebhookAway, WebhookClient
from service import logs

__all__ = ["Mirror"]

_EVERY_S = 1.0
# A burst of changes (an alert switches several pins, each is commanded and reported) is asked about once.
_SETTLE_S = 0.05


class Mirror:
    """Asks the webhook and tells the picture.

    Args:
        client: the way to the webhook.
        picture: what is told.
    """

    def __init__(self, client: WebhookClient, picture: Picture) -> None:
        self._client = client
        self._picture = picture
        self._views: dict[tuple[str, str], Any] = {}
        self._stopping = threading.Event()
        self._nudged = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self._log = logs.get("mirror")
        self.problem: str | None = "not asked yet"

    def start(self) -> None:
        """Begin to ask, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        self._nudged.set()
        self._thread.join(timeout=10)

    def nudge(self) -> None:
        """Ask soon: a pin changed, or an alert came."""
        self._nudged.set()

    def refresh(self) -> None:
        """Ask once, now; called by the thread and by the tests."""
        try:
            self._pins(self._client.pins(), self._client.claims())
            self._picture.alerts_are(self._client.alerts())
            problem = None
        except (WebhookAway, Refused) as error:
            problem = str(error)
        except (KeyError, TypeError) as error:
            problem = f"the webhook's answer lacks {error}"
        if problem != self.problem:
            self._log.info("webhook " + ("away" if problem else "answers"), problem=problem)
        self.problem = problem
        self._picture.link("webhook", problem)

    def _pins(self, pins: list[dict[str, Any]], claims: list[dict[str, Any]]) -> None:
        changed = []
        for pin in pins:
            key = (pin["device"], pin["pin"])
            theirs = [claim for claim in claims if (claim["device"], claim["pin"]) == key]
            # drift_s counts up by itself; a change in it alone is no news.
            seen = ({name: value for name, value in pin.items() if name != "drift_s"}, theirs)
            if self._views.get(key) != seen:
                changed.append(self._client.why(*key))
                self._views[key] = seen
        self._picture.explained(changed)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.refresh()
            if self._nudged.wait(_EVERY_S):
                self._stopping.wait(_SETTLE_S)
                self._nudged.clear()

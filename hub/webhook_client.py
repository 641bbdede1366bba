"""The hub's way to the webhook: one small HTTP client, connections kept alive.

The webhook alone decides what a pin should be; the hub asks it and forwards
what a person wants. Never retries a write: the person sees what happened.
"""

from typing import Any
from urllib.parse import quote, urlencode

import urllib3

__all__ = ["Refused", "WebhookAway", "WebhookClient"]

_TIMEOUT = urllib3.Timeout(connect=1.0, read=4.0)  # the webhook itself waits 2 s at most for the broker


class WebhookAway(Exception):  # noqa: N818  (a state, said to the person)
    """The webhook does not answer; the message says how."""


class Refused(Exception):  # noqa: N818
    """The webhook answered that it will not.

    Attributes:
        status: its HTTP status.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class WebhookClient:
    """Asks the webhook as user `operator`.

    Args:
        url: where it listens, without a path.
        password: the operator's.
    """

    def __init__(self, url: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._pool = urllib3.PoolManager(
            maxsize=8,
            timeout=_TIMEOUT,
            # One more try for a read whose kept-alive connection the webhook had closed meanwhile.
            retries=urllib3.Retry(connect=0, read=1, redirect=0, status=0, allowed_methods={"GET"}),
            headers=urllib3.make_headers(basic_auth=f"operator:{password}", user_agent="pinloop-hub"),
        )

    def pins(self) -> list[dict[str, Any]]:
        """Return every pin as the webhook sees it."""
        return list(self._call("GET", "/pins")["pins"])

    def claims(self) -> list[dict[str, Any]]:
        """Return every claim that stands."""
        return list(self._call("GET", "/claims")["claims"])

    def alerts(self) -> list[dict[str, Any]]:
        """Return the firing alerts and the last resolved ones."""
        return list(self._call("GET", "/alerts")["alerts"])

    def changes(self, query: dict[str, str]) -> dict[str, Any]:
        """Return a page of the log: `changes`, and `next` for the page after it."""
        return self._call("GET", "/changes?" + urlencode(query))

    def why(self, device: str, pin: str) -> dict[str, Any]:
        """Return why a pin is what it is: `text`, `claims`, `changes` and the pin itself."""
        return self._call("GET", _path(device, pin) + "/why")

    def claim(self, device: str, pin: str, wish: dict[str, Any]) -> dict[str, Any]:
        """Put a manual claim on a pin (`value`, `for` or `until_s`, `by`); return the pin."""
        return self._call("PUT", _path(device, pin), wish)

    def release(self, device: str, pin: str, by: str) -> dict[str, Any]:
        """Withdraw the manual claim of a pin for whoever asks (`by`); return the webhook's answer."""
        return self._call("DELETE", _path(device, pin) + "?" + urlencode({"by": by}))

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object of the answer.

        Raises:
            WebhookAway: no answer, or one that is not the webhook's.
            Refused: an answer of 400 or above.
        """
        try:
            answer = (
                self._pool.request(method, self._url + path, json=body)
                if body
                else self._pool.request(method, self._url + path)
            )
        except urllib3.exceptions.HTTPError as error:
            raise WebhookAway(f"the webhook at {self._url} does not answer ({_short(error)})") from None
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.status == 401:
            raise WebhookAway(f"the webhook at {self._url} refuses the hub's password (setting webhook_password)")
        if not isinstance(found, dict):
            raise WebhookAway(f"the webhook at {self._url} answers {answer.status} without a JSON object")
        if answer.status >= 400:
            raise Refused(answer.status, str(found.get("detail", f"the webhook answers {answer.status}")))
        return found


def _path(device: str, pin: str) -> str:
    return f"/pins/{quote(device, safe='')}/{quote(pin, safe='')}"


def _short(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    text = str(reason).lower()
    if "refused" in text:
        return "connection refused"
    if "timed out" in text:
        return "timed out"
    return type(reason).__name__

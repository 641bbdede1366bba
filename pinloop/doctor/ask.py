"""One HTTP question: the status, the body and how far the server's clock is from ours.

Uses http.client: a doctor asks twenty questions once each, and has to tell "refuses the connection" from "is silent".
"""

import base64
import http.client
import json
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Answer", "NoAnswer", "ask"]

TIMEOUT_S = 4.0


class NoAnswer(Exception):  # noqa: N818  (a fact about the server, not a fault of ours)
    """The server did not answer; the message says how."""


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        status: HTTP status.
        text: the body.
        ahead_s: how far its clock is ahead of ours in seconds, to about half a second; None: it sent no date.
    """

    status: int
    text: str
    ahead_s: float | None

    def json(self) -> Any:
        """Return the decoded body, {} when it is no JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return {}


def ask(
    url: str,
    *,
    method: str = "GET",
    basic: tuple[str, str] | None = None,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Ask `url` once.

    Args:
        basic: user and password.

    Raises:
        NoAnswer: no connection, no HTTP, or nothing within TIMEOUT_S seconds.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    sent = dict(headers or {})
    if basic:
        sent["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        return Answer(answer.status, text, _ahead_s(answer.getheader("Date"), time.time()))
    except TimeoutError:
        raise NoAnswer(f"says nothing within {TIMEOUT_S:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoAnswer(f"does not answer ({said.lower()})") from None
    finally:
        connection.close()


def _ahead_s(date: str | None, now_s: float) -> float | None:
    try:
        # A date counts whole seconds: on average half a second of it is cut off.
        return parsedate_to_datetime(date).timestamp() + 0.5 - now_s if date else None
    except ValueError:
        return None

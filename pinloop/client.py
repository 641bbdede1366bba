"""The commands' way to a running hub: find it, sign in, ask.

Uses http.client: a command asks once or twice, and a larger library would cost
more time to import than the answer takes.
"""

import base64
import http.client
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from pinloop.errors import PinloopError

__all__ = ["HubClient", "find_hub"]

_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class HubClient:
    """A hub.

    Attributes:
        url: where its console is.
        password: the console's.
    """

    url: str
    password: str

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer to GET `path`, a path below /api."""
        return self.call("GET", path)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object that the hub answers.

        Raises:
            PinloopError: it does not answer, or it says no; the message says why and what to do.
        """
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        headers = {"Authorization": "Basic " + base64.b64encode(f"owner:{self.password}".encode()).decode()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
            sent = None if body is None else json.dumps(body)
            connection.request(method, parts.path.rstrip("/") + "/api" + path, sent, headers)
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PinloopError(
                f"the hub at {self.url} does not answer ({_short(error)})",
                "Start it with `pinloop up`, or name the right one with --url.",
            ) from None
        return _object(self.url, answer.status, text)


def _object(url: str, status: int, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise PinloopError(f"{url} answers {status} without JSON", "Is --url the address of Pinloop's console?")
    if status < 400:
        return found
    what = str(found.get("error", f"the hub answers {status}"))
    hints = {
        401: "Give the console's password as PINLOOP_PASSWORD, or name a file with it in PINLOOP_PASSWORD_FILE.",
        404: "See what there is with `pinloop device list` and `pinloop pin list`.",
        503: "Look at the hub's /readyz, or at the screen of `pinloop up`, for the part that is away.",
    }
    raise PinloopError(what, hints.get(status, ""))


def find_hub(url: str | None, data_dir: Path) -> HubClient:
    """Return the hub that is named by `url`, else the local instance that runs on `data_dir`.

    Raises:
        PinloopError: there is none, or its password cannot be found.
        click.BadParameter: `url` is no address.
    """
    password = _given_password()
    if url is not None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise click.BadParameter(f"'{url}' is not an address like http://127.0.0.1:8080", param_hint="--url")
        if password is None:
            raise PinloopError(
                f"the password of the hub at {url} is not known",
                "Give it as PINLOOP_PASSWORD, or name a file with it in PINLOOP_PASSWORD_FILE.",
            )
        return HubClient(url, password)
    running = data_dir / "running.json"
    try:
        facts = json.loads(running.read_text(encoding="utf-8"))
        found = facts["hub_url"]
        password = password if password is not None else _read(Path(facts["console_password_file"]))
    except FileNotFoundError:
        raise PinloopError(
            f"no Pinloop runs on '{data_dir}' (there is no {running})",
            "Start one with `pinloop up`, name its folder with --data-dir, or a hub elsewhere with --url.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PinloopError(f"{running}: cannot be used ({error})", "Stop and start `pinloop up` again.") from None
    return HubClient(found, password)


def _given_password() -> str | None:
    if "PINLOOP_PASSWORD" in os.environ:
        return os.environ["PINLOOP_PASSWORD"]
    path = os.environ.get("PINLOOP_PASSWORD_FILE")
    return _read(Path(path)) if path else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise PinloopError(f"the password file '{path}' cannot be read ({error})") from None


def _short(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {_TIMEOUT_S:.0f} s"
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)

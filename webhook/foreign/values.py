"""How values of the file are read, and messages of devices."""

import json
from typing import Any

from contract.limits import MAX_PAYLOAD_BYTES
from webhook.foreign.model import Parse

__all__ = ["MAX_TOPIC_CHARS", "json_object", "payload", "text_of", "topic", "whole", "yes_no"]

MAX_TOPIC_CHARS = 200
_MAX_LEVELS = 16
_MAX_PAYLOAD_CHARS = 1024


def topic(text: str) -> str:
    """Return a topic that any broker takes.

    A broker may close the connection for a control character, a noncharacter or a great many levels, takes messages
    below $SYS and $share and delivers them to nobody, and reads + and # as wildcards.

    Raises:
        ValueError: it is none.
    """
    levels = text.split("/")
    if len(text) > MAX_TOPIC_CHARS or len(levels) > _MAX_LEVELS:
        raise ValueError(f"is longer than {MAX_TOPIC_CHARS} characters or {_MAX_LEVELS} levels")
    if text.startswith("$") or any(char in "+#" for char in text) or not text.isprintable():
        raise ValueError("is not a topic: no + or #, no control characters, no $ at the start")
    if any(not level or level != level.strip() for level in levels):
        raise ValueError("is not a topic: every level needs a name, without spaces around it")
    return text


def whole(least: int, most: int) -> Parse:
    """Return a parser of whole numbers from `least` to `most`; it gives back the text."""

    def parse(text: str) -> str:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise ValueError(f"is not a whole number from {least} to {most}")
        return str(int(text))

    return parse


def yes_no(text: str) -> bool:
    """Return what `true` or `false` says.

    Raises:
        ValueError: it is neither.
    """
    if text not in ("true", "false"):
        raise ValueError("is not true or false")
    return text == "true"


def payload(text: str) -> str:
    """Return a payload.

    Raises:
        ValueError: it is too long.
    """
    if len(text) > _MAX_PAYLOAD_CHARS:
        raise ValueError(f"is longer than {_MAX_PAYLOAD_CHARS} characters")
    return text


def text_of(raw: bytes) -> str:
    """Return a payload as text.

    Raises:
        ValueError: it is too long, or not UTF-8.
    """
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"is longer than {MAX_PAYLOAD_BYTES} bytes")
    return raw.decode().strip()


def json_object(raw: bytes) -> dict[str, Any]:
    """Return a payload that is a JSON object.

    Raises:
        ValueError: it is none.
    """
    try:
        found = json.loads(text_of(raw))
    except RecursionError:
        raise ValueError("is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("is not a JSON object")
    return found

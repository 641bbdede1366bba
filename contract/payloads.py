"""What the payload modules share: reading bytes, JSON and numbers without surprises."""

import json

from contract.errors import PayloadError
from contract.limits import MAX_INTEGER

_INFINITY = float("inf")


def text_of(payload: bytes, key: str, most_bytes: int) -> str:
    """Return the payload as text.

    Raises:
        PayloadError: too long (reason "size") or not UTF-8 (reason "utf8").
    """
    if len(payload) > most_bytes:
        raise PayloadError(key, bytes(payload[:16]), "is longer than {} bytes".format(most_bytes), "size")
    try:
        return bytes(payload).decode()
    except UnicodeError:
        raise PayloadError(key, bytes(payload[:32]), "is not UTF-8", "utf8") from None


def json_of(text: str, key: str) -> object:
    """Return the JSON value in `text`; PayloadError (reason "json") when it is none."""
    ends = text.strip()
    if ends[:1] in ("{", "[") and ends[:1] + ends[-1:] not in ("{}", "[]"):
        raise PayloadError(key, text, "is not JSON", "json")  # MicroPython's reader takes an object without its end
    try:
        return json.loads(text)
    except (ValueError, RuntimeError, OverflowError):  # RuntimeError: a payload of 100,000 brackets recurses too deep
        raise PayloadError(key, text, "is not JSON", "json") from None


def number(value: object, key: str) -> float:
    """Return a finite int or float as it is; JSON's true and false are no numbers.

    Raises:
        PayloadError: anything else (reason "number").
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PayloadError(key, value, "is not a number", "number")
    if value != value or value in (_INFINITY, -_INFINITY):
        raise PayloadError(key, value, "is not finite", "number")
    if isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise PayloadError(key, value, "is beyond 2**53", "number")
    return value


def bare_number(text: str, key: str) -> float:
    """Return the decimal number that is the whole payload, as the simplest devices send it.

    Raises:
        PayloadError: it is none, or none that JSON would accept ("nan", "1_000") (reason "number").
    """
    stripped = text.strip()
    for char in stripped:
        if char not in "0123456789+-.eE":
            raise PayloadError(key, text, "is not a number", "number")
    if not stripped.lstrip("+-").lstrip(".")[:1].isdigit():  # MicroPython's float(".") is 0.0
        raise PayloadError(key, text, "is not a number", "number")
    try:
        value = float(stripped)
    except ValueError:
        raise PayloadError(key, text, "is not a number", "number") from None
    whole = number(value, key)
    if "." not in stripped and "e" not in stripped and "E" not in stripped:
        return number(int(stripped), key)
    return whole


def integer(value: object, key: str, least: int, most: int) -> int:
    """Return an int within [least, most].

    Raises:
        PayloadError: not an int, or outside (reason "number").
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise PayloadError(key, value, "is not a whole number from {} to {}".format(least, most), "number")
    return value


def string(value: object, key: str, most_chars: int) -> str:
    """Return a printable str of at most `most_chars`.

    Raises:
        PayloadError: not a str, too long, or with control characters (reason "text").
    """
    if not isinstance(value, str) or len(value) > most_chars:
        raise PayloadError(key, value, "is not text of at most {} characters".format(most_chars), "text")
    for char in value:
        if ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000:
            raise PayloadError(key, value, "holds a control character", "text")
    return value


def mapping(value: object, key: str) -> "dict[str, object]":
    """Return a dict; PayloadError (reason "shape") for anything else."""
    if not isinstance(value, dict):
        raise PayloadError(key, value, "is not a JSON object", "shape")
    return value


def _compact(value: object) -> str:
    """Return JSON; the keyword for compactness does not exist on every MicroPython port."""
    try:
        return json.dumps(value, separators=(",", ":"))
    except TypeError:
        return json.dumps(value)


# CPython: made once, json.dumps makes one for each call. MicroPython has no such class.
_dumps = json.JSONEncoder(separators=(",", ":")).encode if hasattr(json, "JSONEncoder") else _compact


def encode(value: object) -> bytes:
    """Return JSON, compact where that can be asked for."""
    return _dumps(value).encode()

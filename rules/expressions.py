"""The small languages inside a rules file: durations, comparisons, windows, targets, times of day.

Each function takes the text as it stands in the file and returns a value, or
raises ValueError whose message completes "'<text>' ...".
"""

import functools
import math
import re
from collections.abc import Callable
from datetime import time
from typing import TypeVar
from zoneinfo import ZoneInfo, available_timezones

from contract.errors import ContractError
from contract.payloads import bare_number
from contract.topics import check_device, check_name
from rules.model import DEVICE, OPERATORS, Comparison, Target
from service.document import nearest

__all__ = ["REDUCERS", "comparison", "duration_s", "overlap", "target", "time_of_day", "timezone", "window"]

T = TypeVar("T")

REDUCERS = ("mean", "max", "min", "last", "count")

_UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?", re.ASCII)
_LONGEST_S = 366 * 86400.0
_COMPARISON = re.compile(r"(?P<name>[^<>=!]*?)\s*(?P<operator>[<>=!]+)\s*(?P<number>.*)", re.DOTALL)
# What people write for an operator that they know from elsewhere.
_MEANT = {"=": "==", "=>": ">=", "=<": "<=", "<>": "!=", "===": "==", "!==": "!="}
_TIME = re.compile(r"(\d\d):(\d\d)", re.ASCII)


def duration_s(text: str) -> float:
    """Return the seconds in `10s`, `5h30m`, `500ms`.

    Raises:
        ValueError: it is no duration, or longer than a year.
    """
    found = _DURATION.fullmatch(text)
    if not text or not found:
        raise ValueError("is not a duration: whole numbers with d, h, m, s or ms, the longest first, as 10s or 5h30m")
    # Whole milliseconds first: 1.1 s must not become 1.1000000000000001.
    total_ms = sum(int(number) * round(_UNITS_S[unit] * 1000) for unit, number in found.groupdict("0").items())
    if total_ms / 1000 > _LONGEST_S:
        raise ValueError("is longer than a year")
    return total_ms / 1000


def comparison(text: str) -> tuple[str, str, Comparison]:
    """Return (device or "", sensor, comparison) in `pot > 80` or `greenhouse.temperature > 28`.

    Raises:
        ValueError: it is none.
    """
    found = _COMPARISON.fullmatch(text.strip())
    if not found:
        raise ValueError("is not a sensor, a comparison and a number, as pot > 80")
    operator = found["operator"]
    if operator not in OPERATORS:
        meant = f" (did you mean {_MEANT[operator]}?)" if operator in _MEANT else ""
        raise ValueError(f"has the operator '{operator}', which is not one of {', '.join(OPERATORS)}{meant}")
    device, dot, sensor = found["name"].rpartition(".")
    if dot:
        _checked(check_device, device)
    return device, _checked(check_name, sensor), Comparison(operator, _number(found["number"]))


def window(text: str) -> tuple[float, str]:
    """Return (seconds, reducer) in `10s` (the mean) or `10s max`.

    Raises:
        ValueError: it is none, or as long as nothing.
    """
    length, *words = text.split() or [""]
    seconds = duration_s(length)
    if not seconds:
        raise ValueError("is no window: leave the key out to compare each reading alone")
    if len(words) > 1 or (words and words[0] not in REDUCERS):
        hint = nearest(words[0], REDUCERS)
        raise ValueError(f"is not a duration and one of {', '.join(REDUCERS)}, as 10s max{hint}")
    return seconds, words[0] if words else "mean"


def target(text: str) -> Target:
    """Return the target in `lights/red = 1` or `{device}/fan = 1`.

    Raises:
        ValueError: it is none.
    """
    device, slash, rest = text.partition("/")
    pin, equals, value = rest.partition("=")
    if not slash or not equals:
        raise ValueError("is not device/pin = value, as lights/red = 1")
    device = device.strip()
    if device != DEVICE:
        _checked(check_device, device)
    return Target(device, _checked(check_name, pin.strip()), _number(value))


def time_of_day(text: str) -> time:
    """Return the time in `18:00`.

    Raises:
        ValueError: it is none.
    """
    found = _TIME.fullmatch(text)
    if not found or int(found[1]) > 23 or int(found[2]) > 59:
        raise ValueError("is not a time of day from 00:00 to 23:59, as 18:00")
    return time(int(found[1]), int(found[2]))


def timezone(text: str) -> ZoneInfo:
    """Return the time zone with that IANA name.

    Raises:
        ValueError: there is none.
    """
    if text not in _zones():  # asking ZoneInfo for any text would let it look for files
        raise ValueError(f"is not the name of a time zone, as Europe/Madrid{nearest(text, _zones())}")
    return ZoneInfo(text)


def overlap(one: Comparison, other: Comparison) -> float | None:
    """Return a value for which both hold, None when there is none."""
    low, high = sorted((one.number, other.number))
    round_ones = (math.floor(low) - 1.0, low, (low + high) / 2, high, math.ceil(high) + 1.0)
    # Neighbouring floats: between 1e17 and 1e17 + 1 there is no midpoint.
    close_ones = (math.nextafter(low, -math.inf), math.nextafter(low, math.inf), math.nextafter(high, math.inf))
    for value in (*round_ones, *close_ones):
        if one.holds(value) and other.holds(value):
            return value
    return None


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())  # reads the whole folder of zones


def _number(text: str) -> float:
    return _checked(lambda number: bare_number(number, ""), text)


def _checked(check: Callable[[str], T], text: str) -> T:
    """Return what the contract makes of a part of an expression."""
    try:
        return check(text)
    except ContractError as error:
        raise ValueError(f"has '{text.strip()}', which {error.rule}") from None

"""Durations as people write them, in settings and on the command line: 90, 90s, 30m, 1h30m, 7d."""

import re

__all__ = ["seconds_in", "text_of"]

_UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"(?:(?P<d>\d{1,6})d)?(?:(?P<h>\d{1,6})h)?(?:(?P<m>\d{1,6})m)?(?:(?P<s>\d{1,6})s)?", re.ASCII)
_BARE = re.compile(r"\d{1,9}", re.ASCII)


def seconds_in(text: str) -> int:
    """Return the whole seconds of a duration; a number without a unit is seconds.

    Raises:
        ValueError: it is none; the message completes "'<text>' ...".
    """
    if _BARE.fullmatch(text):
        return int(text)
    match = _WRITTEN.fullmatch(text)
    if not text or not match:
        raise ValueError("is not a time such as 90s, 30m, 1h30m or 7d; a bare number is seconds")
    return sum(int(count) * _UNITS_S[unit] for unit, count in match.groupdict("0").items())


def text_of(seconds: int) -> str:
    """Return whole seconds in the same spelling, as 1h30m."""
    parts = []
    for unit, size_s in _UNITS_S.items():
        count, seconds = divmod(seconds, size_s)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"

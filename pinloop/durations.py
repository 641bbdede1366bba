"""Durations on the command line, the same for every option: 90, 90s, 30m, 1h30m, 7d."""

import re
from typing import TYPE_CHECKING, Any

import click

__all__ = ["Duration", "text_of"]

_UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"(?:(?P<d>\d{1,6})d)?(?:(?P<h>\d{1,6})h)?(?:(?P<m>\d{1,6})m)?(?:(?P<s>\d{1,6})s)?", re.ASCII)
_BARE = re.compile(r"\d{1,9}", re.ASCII)


if TYPE_CHECKING:
    _ParamType = click.ParamType[int]
else:  # generic in click's newer versions only
    _ParamType = click.ParamType


class Duration(_ParamType):
    """Whole seconds; a number without a unit is seconds.

    Args:
        least_s, most_s: the bounds, in seconds; both are allowed.
    """

    name = "time"

    def __init__(self, least_s: int = 1, most_s: int = 366 * 86400) -> None:
        self._least_s = least_s
        self._most_s = most_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds, or refuse the value as wrong usage."""
        if isinstance(value, int):
            return value
        match = _WRITTEN.fullmatch(value)
        if _BARE.fullmatch(value):
            seconds = int(value)
        elif value and match:
            seconds = sum(int(count) * _UNITS_S[unit] for unit, count in match.groupdict("0").items())
        else:
            self.fail(
                f"'{value}' is not a time such as 90, 90s, 30m, 1h30m or 7d (a bare number is seconds)", param, ctx
            )
        if not self._least_s <= seconds <= self._most_s:
            self.fail(f"'{value}' is not from {text_of(self._least_s)} to {text_of(self._most_s)}", param, ctx)
        return seconds


def text_of(seconds: int) -> str:
    """Return a duration in the same spelling, as 1h30m."""
    parts = []
    for unit, size_s in _UNITS_S.items():
        count, seconds = divmod(seconds, size_s)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"

"""Durations as options, the same for every command: 90, 90s, 30m, 1h30m, 7d."""

from typing import TYPE_CHECKING, Any

import click

from service.durations import seconds_in, text_of

__all__ = ["Duration"]

if TYPE_CHECKING:
    _ParamType = click.ParamType[int]
else:  # generic in click's newer versions only
    _ParamType = click.ParamType


class Duration(_ParamType):
    """Whole seconds.

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
        try:
            seconds = seconds_in(value)
        except ValueError as error:
            self.fail(f"'{value}' {error}", param, ctx)
        if not self._least_s <= seconds <= self._most_s:
            self.fail(f"'{value}' is not from {text_of(self._least_s)} to {text_of(self._most_s)}", param, ctx)
        return seconds

"""A table of inputs.toml, read key by key: what nobody reads is a mistake of the file."""

import difflib
import math
import zoneinfo
from collections.abc import Mapping
from typing import Any

from contract.topics import is_device
from inputs.topics import TopicPattern
from service.errors import SettingsError

__all__ = ["Table"]


class Table:
    """A table; each method takes a key out.

    Args:
        where: names it in messages: "inputs.toml: tasmota".
        items: key -> value.
    """

    def __init__(self, where: str, items: object) -> None:
        self.where = where
        if not isinstance(items, dict):
            raise SettingsError(f"{where}: {items!r} is not a table ([name] and keys below it)")
        self._items: dict[str, Any] = dict(items)
        self._known: list[str] = []

    def wrong(self, key: str, value: object, rule: str) -> SettingsError:
        """Return the error for a value."""
        return SettingsError(f"{self.where}: {key}: {value!r} {rule}")

    def take(self, key: str, default: object = None) -> Any:
        """Return a value as it stands, `default` when it is not there."""
        self._known.append(key)
        return self._items.pop(key, default)

    def take_all(self) -> dict[str, Any]:
        """Return everything."""
        return self._items

    def text(self, key: str, default: str | None = "") -> str:
        """Return a text; None as the default: it must be there."""
        value = self.take(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, value, "is not text in quotes" if value is not None else "is missing: text in quotes")
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        """Return a number within [least, most]."""
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(key, value, "is not a number")
        if not least <= value <= most:
            raise self.wrong(key, value, f"is not from {least:g} to {most:g}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "is not true or false")
        return value

    def below(self, key: str) -> Mapping[str, Any]:
        """Return a table below this one, empty when it is not there."""
        value = self.take(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, value, "is not a table")
        return value

    def topic(self, key: str, default: str | None) -> str:
        """Return the beginning of topics: levels without wildcards, no slash at the end."""
        value = self.text(key, default)
        if not value or value.endswith("/") or set(value) & set("+#\0"):
            raise self.wrong(key, value, "is not a topic without + and # and a slash at its end")
        return value

    def pattern(self, key: str, default: str | None = None) -> TopicPattern:
        """Return a topic filter; without a default it must be there."""
        value = self.text(key, default)
        try:
            return TopicPattern(value)
        except ValueError as error:
            raise self.wrong(key, value, str(error)) from None

    def device(self, key: str, value: object) -> str:
        """Return `value` when it is a device id."""
        if not is_device(value):
            raise self.wrong(key, value, "is not a device id: 1 to 32 of a-z 0-9 _ -, first a letter or digit")
        return str(value)

    def zone(self, key: str = "timezone") -> zoneinfo.ZoneInfo | None:
        """Return a time zone by its name, None when it is not there."""
        value = self.text(key)
        if not value:
            return None
        try:
            return zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise self.wrong(key, value, "is not a time zone like 'Europe/Madrid'") from None

    def done(self) -> None:
        """Raise SettingsError when a key was not taken: it is misspelt, or does not belong here."""
        for key in self._items:
            near = difflib.get_close_matches(key, self._known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else f"; there are: {', '.join(sorted(set(self._known)))}"
            raise SettingsError(f"{self.where}: {key}: is not a key of it{hint}")

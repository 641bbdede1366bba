"""Custom: topics of anybody, mapped by the file: a topic filter, the device, sensors and where their values are.

Also [numbers]: a topic whose payload is one number.
"""

import re
from collections.abc import Sequence
from typing import Any

from contract.errors import PayloadError
from contract.topics import is_name
from inputs.base import Context
from inputs.custom.paths import Pointer, pointer
from inputs.facts import Fact, Ignored, Readings
from inputs.names import RESERVED, sensor_name
from inputs.table import Table
from inputs.times import instant
from inputs.topics import TopicPattern
from inputs.units import UNITS
from inputs.values import WORDS, document, flatten, named, scalar

__all__ = ["Custom", "Numbers"]

_PLACE = re.compile(r"\{(\d)\}")


class _Value:
    """Where a sensor's value is and what is done to it: stored = (value in its unit) * scale + offset."""

    def __init__(self, table: Table) -> None:
        self.path: Pointer | None = None
        text = table.text("path")
        if text:
            try:
                self.path = pointer(text)
            except ValueError as error:
                raise table.wrong("path", text, str(error)) from None
        unit = table.text("unit")
        if unit and unit not in UNITS:
            raise table.wrong("unit", unit, "is not one of " + ", ".join(UNITS))
        factor, shift = UNITS.get(unit, (1.0, 0.0))
        scale = table.number("scale", 1, -1e12, 1e12)
        self._factor = factor * scale
        self._shift = shift * scale + table.number("offset", 0, -1e12, 1e12)
        self.words = {**WORDS, **_words(table)}
        table.done()

    def stored(self, value: float) -> float:
        return value if (self._factor, self._shift) == (1, 0) else round(value * self._factor + self._shift, 9)


class Custom:
    """One [[custom]] mapping."""

    name = "custom"
    own = ()

    def __init__(self, table: Table, context: Context) -> None:
        self._context = context
        self._pattern = table.pattern("topic")
        self.filters = (self._pattern.filter,)
        self._device = self._template(table, "device", None)
        self._sensor = self._template(table, "sensor", "")
        self.rights = self._rights()
        self._zone = table.zone()
        self._time = _optional(table, "time")
        self._each = _optional(table, "each")
        self._values: dict[str, _Value] = {}
        for sensor, given in table.below("values").items():
            _sensor(table, "values", sensor)
            where = f"{table.where}: values: {sensor}"
            self._values[sensor] = _Value(Table(where, given if isinstance(given, dict) else {"path": given}))
        inner = {key: table.take(key) for key in ("path", "unit", "scale", "offset", "words")}
        given = {key: value for key, value in inner.items() if value is not None}
        if given and (self._values or not self._sensor):
            raise table.wrong(next(iter(given)), next(iter(given.values())), "belongs to `sensor`, or below `values`")
        if self._sensor and self._values:
            raise table.wrong("sensor", self._sensor, "and `values` exclude one another")
        self._one = _Value(Table(table.where, given))

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`."""
        places = self._pattern.match(topic) or ()
        device = self._named(places)
        ignored: list[Ignored] = []
        if self._sensor and not self._one.path:
            sensor = sensor_name((_filled(self._sensor, places),))
            value = self._one.stored(scalar(payload, sensor, self._one.words))
            return [Readings(device, named([((sensor,), value)], ignored)), *ignored]
        whole = document(payload, "payload")
        items = self._each.find(whole) if self._each else whole
        if self._each and not isinstance(items, list):
            raise PayloadError("each", self._each.text, "leads to no list in the payload", "shape")
        samples = []
        for item in items if isinstance(items, list) and self._each else [items]:
            at_s = instant(self._time.find(item), self._zone) if self._time else None
            samples += named(self._pairs(item, places, ignored), ignored, at_s)
        if not samples and not ignored:
            raise PayloadError("payload", whole, "has none of the values", "shape")
        return [*([Readings(device, samples)] if samples else []), *ignored]

    def _pairs(
        self, item: object, places: tuple[str, ...], ignored: list[Ignored]
    ) -> list[tuple[tuple[str, ...], float]]:
        wanted = self._values
        if self._sensor:
            wanted = {_filled(self._sensor, places): self._one}
        if not wanted:
            return flatten(item, ignored)
        if not isinstance(item, dict | list):
            raise PayloadError("payload", item, "is no JSON object", "shape")
        pairs: list[tuple[tuple[str, ...], float]] = []
        for sensor, value in wanted.items():
            if value.path is None:
                continue
            for _, found in flatten(value.path.find(item), ignored, value.words, (value.path.text,))[:1]:
                pairs.append(((sensor,), value.stored(found)))
        return pairs

    def _rights(self) -> Sequence[tuple[str, str, str]]:
        """A device signs in as itself: what it may write follows from where its id stands in the topic."""
        if "{" not in self._device:
            return ((self._device, "write", self._pattern.filter),)
        if not (place := _PLACE.fullmatch(self._device)):
            return ()
        levels, seen = self._pattern.filter.split("/"), 0
        for index, level in enumerate(levels):
            seen += level in ("+", "#")
            if seen == int(place[1]):
                levels[index] = "%u"
                break
        return (("%u", "write", "/".join(levels)),)

    def _named(self, places: tuple[str, ...]) -> str:
        if "{" not in self._device:
            return self._device
        return self._context.device(self.name, _filled(self._device, places))

    def _template(self, table: Table, key: str, default: str | None) -> str:
        text = table.text(key, default)
        for place in _PLACE.findall(text):
            if not 1 <= int(place) <= self._pattern.wildcards:
                raise table.wrong(key, text, f"has {{{place}}}, and the topic {self._pattern.wildcards} wildcards")
        rest = _PLACE.sub("", text)
        if "{" in rest or "}" in rest:
            raise table.wrong(key, text, "has braces that are not {1} to {9}")
        if text and rest == text:
            if key == "device":
                table.device(key, text)
            else:
                _sensor(table, key, text)
        return text


class Numbers:
    """The table [numbers]: "topic" = "device/sensor"."""

    name = "numbers"
    own = ()

    def __init__(self, table: Table, context: Context) -> None:
        self._targets: dict[str, tuple[str, str]] = {}
        for topic, target in table.below("topics").items():
            device, _, sensor = str(target).partition("/")
            try:
                wild = TopicPattern(topic).wildcards
            except ValueError as error:
                raise table.wrong(topic, target, f"its topic {error}") from None
            if wild:
                raise table.wrong(topic, target, "its topic has wildcards: use [[custom]]")
            table.device(topic, device)
            _sensor(table, topic, sensor)
            self._targets[topic] = (device, sensor)
        self.filters = tuple(self._targets)
        self.rights = tuple((device, "write", topic) for topic, (device, _) in self._targets.items())

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`."""
        device, sensor = self._targets[topic]
        return [Readings(device, named([((sensor,), scalar(payload, sensor))], []))]


def _sensor(table: Table, key: str, name: Any) -> None:
    if not is_name(name) or name in RESERVED:
        rule = (
            f"is not a sensor's name: 1 to 32 of a-z 0-9 _, first a letter, and none of {', '.join(sorted(RESERVED))}"
        )
        raise table.wrong(key, name, rule)


def _filled(template: str, places: tuple[str, ...]) -> str:
    return _PLACE.sub(lambda found: places[int(found[1]) - 1], template)


def _optional(table: Table, key: str) -> Pointer | None:
    text = table.text(key)
    try:
        return pointer(text) if text else None
    except ValueError as error:
        raise table.wrong(key, text, str(error)) from None


def _words(table: Table) -> dict[str, float]:
    found: dict[str, float] = {}
    for word, value in table.below("words").items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise table.wrong(f"words: {word}", value, "is not a number")
        found[word.lower()] = float(value)
    return found

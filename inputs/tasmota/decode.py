"""Tasmota: tele/<topic>/SENSOR and STATE, stat/<topic>/RESULT and POWER, tele/<topic>/LWT.

Source: Tasmota documentation, "MQTT" and "JSON Status Responses".
"""

import re

from contract.errors import PayloadError
from contract.payloads import mapping
from contract.presence import OFFLINE, ONLINE
from inputs.base import Context
from inputs.facts import Fact, Ignored, Readings, Status
from inputs.table import Table
from inputs.times import instant
from inputs.units import normal
from inputs.values import Path, document, flatten, named, scalar, text

__all__ = ["Tasmota"]

_POWER = re.compile(r"POWER\d{0,2}")
# Not a reading: the clock, and the units of the others.
_BESIDE = ("Time", "TempUnit", "PressureUnit", "SpeedUnit", "Epoch")
# Those that SetOption8 turns into Fahrenheit; an MLX90614 stays in Celsius.
_TEMPERATURES = re.compile(r"(probe|reference)?temperature\d*|dewpoint|heatindex")


class Tasmota:
    """Devices that run Tasmota, at its default full topic `%prefix%/%topic%/`."""

    name = "tasmota"
    own = ()

    def __init__(self, table: Table, context: Context) -> None:
        self._context = context
        self._tele = table.topic("tele", "tele")
        self._stat = table.topic("stat", "stat")
        self._zone = table.zone()
        tele = [f"{self._tele}/+/{kind}" for kind in ("SENSOR", "STATE", "LWT")]
        self.filters = [*tele, f"{self._stat}/+/+"]  # POWER, POWER1, POWER2, ... cannot be told by wildcards
        self.rights = (
            ("%u", "write", f"{self._tele}/%u/#"),
            ("%u", "write", f"{self._stat}/%u/#"),
            ("%u", "read", "cmnd/%u/#"),
        )

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`; of `stat` only RESULT, POWER and POWER<n> say something."""
        before, kind = topic.rsplit("/", 1)
        name = before.rsplit("/", 1)[-1]
        if before.startswith(self._stat + "/") and kind != "RESULT" and not _POWER.fullmatch(kind):
            return []
        if not payload:
            return []  # an empty one deletes what was retained
        device = self._context.device(self.name, name)
        if kind == "LWT":
            said = text(payload, "LWT").strip()
            if said not in ("Online", "Offline"):
                raise PayloadError("LWT", said, "is not Online or Offline", "status")
            return [Status(device, ONLINE if said == "Online" else OFFLINE)]
        ignored: list[Ignored] = []
        if _POWER.fullmatch(kind):
            samples = named([((kind,), scalar(payload, kind))], ignored)
            return [Readings(device, samples), *ignored]
        fields = mapping(document(payload, kind), kind)
        if kind == "RESULT":  # an answer to a command; only the relays' are readings
            fields = {key: value for key, value in fields.items() if _POWER.fullmatch(key)}
        units = {key: fields.pop(key, None) for key in _BESIDE}
        pairs = [(path, _in_our_units(path, value, units)) for path, value in flatten(fields, ignored)]
        samples = named(pairs, ignored, instant(units["Time"], self._zone))
        return [*([Readings(device, samples)] if samples else []), *ignored]


def _in_our_units(path: Path, value: float, units: "dict[str, object]") -> float:
    last = path[-1].lower()
    if _TEMPERATURES.fullmatch(last) and units["TempUnit"] == "F":
        return normal(value, "F")
    if last in ("pressure", "seapressure") and units["PressureUnit"] in ("mmHg", "inHg"):
        return normal(value, str(units["PressureUnit"]))
    return value

"""Shelly Gen1: shellies/<id>/<component>/<channel>[/<value>], one value a topic.

Source: Shelly Gen1 API reference, "MQTT".
"""

from contract.errors import ContractError, PayloadError
from contract.payloads import json_of
from contract.presence import OFFLINE, ONLINE
from inputs.base import Context
from inputs.facts import Fact, Ignored, Readings, Status
from inputs.table import Table
from inputs.units import normal
from inputs.values import flatten, named, scalar, text

__all__ = ["Shelly1"]

# What is said once about the device, or to it.
_BESIDE = ("announce", "info", "command", "set", "settings")


class Shelly1:
    """Shelly devices of the first generation, with `MQTT` switched on."""

    name = "shelly1"
    own = ()

    def __init__(self, table: Table, context: Context) -> None:
        self._context = context
        self._base = table.topic("base", "shellies")
        self.filters = (self._base + "/+/#",)
        self.rights = (
            ("%u", "write", f"{self._base}/%u/#"),
            ("%u", "read", f"{self._base}/%u/+/+/command"),
            ("%u", "read", f"{self._base}/%u/command"),
        )

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`."""
        name, *path = topic[len(self._base) + 1 :].split("/")
        if not path or path[-1] in _BESIDE or not payload:
            return []  # an empty one deletes what was retained
        device = self._context.device(self.name, name)
        if path == ["online"]:
            said = text(payload, "online").strip()
            if said not in ("true", "false"):
                raise PayloadError("online", said, "is not true or false", "status")
            return [Status(device, ONLINE if said == "true" else OFFLINE)]
        where = "/".join(path)
        if any(level.endswith("_f") for level in path):  # temperature_f, ext_temperature_f/0
            return [Ignored(where, "unit")]  # the same in Fahrenheit: it is there in Celsius
        ignored: list[Ignored] = []
        said = text(payload, where).strip()
        if said.startswith("{"):
            fields = json_of(said, where)
            pairs = [((*path, *below), value) for below, value in flatten(fields, ignored) if below[-1:] != ("tF",)]
        else:
            try:
                value = scalar(payload, where)
            except ContractError:
                return [Ignored(where, "text")]  # `normal`, `stop`, an input's event
            if path[-1] in ("energy", "returned_energy"):  # counted in watt-minutes; `total` in watt-hours
                value = normal(value, "Wmin")
            pairs = [(tuple(path), value)]
        samples = named(pairs, ignored)
        return [*([Readings(device, samples)] if samples else []), *ignored]

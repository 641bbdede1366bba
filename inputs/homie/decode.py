"""Homie 3, 4 and 5: <base>/<device>/<node>/<property>, and for 5 <base>/5/<device>/<node>/<property>.

The datatype and unit of a property come in other messages, retained ones: they are remembered as they are seen.
Until then a payload counts when it is a number, true or false.

Source: The Homie Convention, versions 3.0.1, 4.0.0 and 5.0.0.
"""

from collections import OrderedDict
from typing import Any

from contract.errors import PayloadError
from contract.payloads import json_of
from contract.presence import OFFLINE, ONLINE, SLEEPING
from inputs.base import Context
from inputs.facts import Fact, Ignored, Readings, Status
from inputs.table import Table
from inputs.units import fahrenheit
from inputs.values import named, scalar, text

__all__ = ["Homie"]

_STATES = {
    "init": ONLINE, "ready": ONLINE, "alert": ONLINE, "sleeping": SLEEPING, "lost": OFFLINE, "disconnected": OFFLINE,
}  # fmt: skip
_NUMBERS = ("integer", "float", "percent", "boolean", "")
# The other properties of a device count as unknown: what is remembered of a stranger's must not fill the memory.
_MOST_PROPERTIES, _MOST_ID_CHARS = 10_000, 192


class Homie:
    """Devices that keep to the Homie convention."""

    name = "homie"
    own = ()

    def __init__(self, table: Table, context: Context) -> None:
        self._context = context
        self._base = table.topic("base", "homie")
        self.filters = (self._base + "/#",)
        self.rights = (
            ("%u", "readwrite", f"{self._base}/%u/#"),
            ("%u", "readwrite", f"{self._base}/5/%u/#"),
        )
        # (device, node, property) -> {"datatype": ..., "unit": ...}
        self._properties: OrderedDict[tuple[str, str, str], dict[str, str]] = OrderedDict()

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`."""
        levels = topic[len(self._base) + 1 :].split("/")
        if levels[0] == "5" and len(levels) > 2:  # the version; 5 itself is a device id too, with nothing below a node
            levels = levels[1:]
        if len(levels) < 2 or levels[0].startswith("$"):
            return []
        name, *path = levels
        if path == ["$state"] and payload:
            said = text(payload, "$state").strip()
            if said not in _STATES:
                raise PayloadError("$state", said, "is not one of " + ", ".join(_STATES), "status")
            return [Status(self._context.device(self.name, name), _STATES[said])]
        if path == ["$description"] and payload:
            self._describe(name, json_of(text(payload, "$description"), "$description"))
            return []
        if len(path) == 3 and path[2] in ("$datatype", "$unit"):
            self._note(name, path[0], path[1], path[2][1:], text(payload, path[2]).strip())
            return []
        if not payload:
            return []  # deletes what was retained: so a device is removed for good
        if len(path) != 2 or any(part.startswith("$") for part in path):
            return []  # set, $target, $name, ...
        known = self._properties.get((name, path[0], path[1]), {})
        where = "/".join(path)
        if known.get("datatype", "") not in _NUMBERS:
            return [Ignored(where, "text")]
        said = text(payload, where).strip()
        try:
            value = scalar(payload, where)
        except PayloadError:
            if known.get("datatype"):
                raise
            return [Ignored(where, "text")]
        if known.get("unit") == "°F":
            value = fahrenheit(value)
        ignored: list[Ignored] = []
        samples = named([((path[0], path[1]), value)], ignored)
        return [Readings(self._context.device(self.name, name), samples), *ignored] if samples else [*ignored]

    def _note(self, device: str, node: str, name: str, key: str, value: str) -> None:
        if len(device) + len(node) + len(name) > _MOST_ID_CHARS:
            return
        self._properties.setdefault((device, node, name), {})[key] = value[:32]
        if len(self._properties) > _MOST_PROPERTIES:
            self._properties.popitem(last=False)

    def _describe(self, device: str, described: object) -> None:
        """Note what the JSON of Homie 5 says: `nodes` and `properties` are objects by id, in drafts lists with ids."""
        for node, about in _by_id(described, "nodes"):
            for name, said in _by_id(about, "properties"):
                for key in ("datatype", "unit"):
                    if isinstance(said.get(key), str):
                        self._note(device, node, name, key, said[key])


def _by_id(owner: object, key: str) -> list[tuple[str, dict[str, Any]]]:
    found = owner.get(key) if isinstance(owner, dict) else None
    if isinstance(found, list):
        found = {str(one.get("id")): one for one in found if isinstance(one, dict)}
    return [(name, one) for name, one in found.items() if isinstance(one, dict)] if isinstance(found, dict) else []

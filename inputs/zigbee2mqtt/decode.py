"""Zigbee2MQTT: <base>/<friendly name> with a JSON object, and <base>/<friendly name>/availability.

Friendly names may have slashes, so everything below the base comes in and what is no device's state is left out.

Source: Zigbee2MQTT documentation, "MQTT Topics and Messages"; lib/extension/availability.ts.
"""

from contract.errors import PayloadError
from contract.payloads import json_of, mapping
from contract.presence import OFFLINE, ONLINE
from inputs.base import Context
from inputs.facts import Fact, Ignored, Readings, Status
from inputs.table import Table
from inputs.times import instant
from inputs.values import document, flatten, named, text

__all__ = ["Zigbee2mqtt"]

# <name>/set, <name>/get and what is below them are commands to the device.
_COMMANDS = ("set", "get")


class Zigbee2mqtt:
    """The devices and groups of one Zigbee2MQTT."""

    name = "zigbee2mqtt"
    own = ()

    def __init__(self, table: Table, context: Context) -> None:
        self._context = context
        self._base = table.topic("base", "zigbee2mqtt")
        self.filters = (self._base + "/#",)
        # It signs in once for all its devices, as `zigbee2mqtt` unless the file says otherwise.
        user = table.text("user", "zigbee2mqtt")
        self.rights = ((user, "readwrite", f"{self._base}/#"),)

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`."""
        levels = topic[len(self._base) + 1 :].split("/")
        if levels[0] in ("bridge", "") or any(level in _COMMANDS for level in levels[1:]) or not payload:
            return []  # an empty one deletes what was retained
        if levels[-1] == "availability" and len(levels) > 1:
            name = "/".join(levels[:-1])
            return [Status(self._context.device(self.name, name), _status(text(payload, "availability").strip()))]
        fields = mapping(document(payload, "state"), "state")
        device = self._context.device(self.name, "/".join(levels))
        ignored: list[Ignored] = []
        seen_s = instant(fields.pop("last_seen", None))
        for beside in ("device", "update", "elapsed"):  # what Zigbee2MQTT says of itself, not of the device
            fields.pop(beside, None)
        samples = named(flatten(fields, ignored), ignored, seen_s)
        return [*([Readings(device, samples)] if samples else []), *ignored]


def _status(said: str) -> str:
    """Return the status in `online`, or in `{"state":"online"}` as newer versions say it."""
    state = mapping(json_of(said, "availability"), "availability").get("state") if said.startswith("{") else said
    if state not in (ONLINE, OFFLINE):
        raise PayloadError("availability", state, "is not online or offline", "status")
    return str(state)

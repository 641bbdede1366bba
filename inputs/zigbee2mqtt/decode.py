"""Zigbee2MQTT: <base>/<friendly name> with a JSON object, or each of its values by itself, and .../availability.

Friendly names may have slashes, so everything below the base comes in and what is no device's state is left out.

Source: Zigbee2MQTT documentation, "MQTT Topics and Messages"; lib/controller.ts; availability.ts and homeassistant.ts
in lib/extension.
"""

from contract.errors import ContractError, PayloadError
from contract.payloads import json_of, mapping
from contract.presence import OFFLINE, ONLINE
from inputs.base import Context
from inputs.facts import Fact, Ignored, Readings, Status
from inputs.table import Table
from inputs.times import instant
from inputs.values import document, flatten, named, scalar, text

__all__ = ["Zigbee2mqtt"]

# <name>/set, <name>/get and what is below them are commands to the device.
_COMMANDS = ("set", "get")
# What Zigbee2MQTT says of itself, not of the device.
_BESIDE = ("device", "update", "elapsed")
# Said again beside the object, for Home Assistant; or no value.
_NO_ATTRIBUTES = (*_BESIDE, "action", "last_seen")


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
        if len(levels) > 1 and payload.lstrip()[:1] != b"{":
            return self._attribute("/".join(levels[:-1]), levels[-1], payload)
        fields = mapping(document(payload, "state"), "state")
        device = self._context.device(self.name, "/".join(levels))
        ignored: list[Ignored] = []
        seen_s = instant(fields.pop("last_seen", None))
        for beside in _BESIDE:
            fields.pop(beside, None)
        samples = named(flatten(fields, ignored), ignored, seen_s)
        return [*([Readings(device, samples)] if samples else []), *ignored]

    def _attribute(self, name: str, key: str, payload: bytes) -> list[Fact]:
        """Return what a value by itself says (`output: attribute`): `<name>/brightness`, `<name>/color-x`."""
        if key.partition("-")[0] in _NO_ATTRIBUTES:
            return [Ignored(key, "text")]
        said = text(payload, key)
        try:
            value = scalar(said.encode(), key)
        except ContractError:
            return [Ignored(key, "text")]
        return [Readings(self._context.device(self.name, name), named([((key,), value)], []))]


def _status(said: str) -> str:
    """Return the status in `online`, or in `{"state":"online"}` as newer versions say it."""
    state = mapping(json_of(said, "availability"), "availability").get("state") if said.startswith("{") else said
    if state not in (ONLINE, OFFLINE):
        raise PayloadError("availability", state, "is not online or offline", "status")
    return str(state)

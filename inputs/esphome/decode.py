"""ESPHome: <prefix>/<component>/<object id>/state, and <prefix>/status.

Source: ESPHome documentation, "MQTT Client Component"; mqtt_component.cpp.
"""

from contract.errors import PayloadError
from contract.payloads import mapping
from contract.presence import OFFLINE, ONLINE
from inputs.base import Context
from inputs.facts import Fact, Ignored, Readings, Status
from inputs.table import Table
from inputs.values import document, flatten, named, scalar, text

__all__ = ["Esphome"]

# Those whose state is a number or ON/OFF; `text_sensor`, `select` and the like say words.
_COMPONENTS = ("sensor", "binary_sensor", "switch", "number", "lock")
_JSON_COMPONENTS = ("light", "fan")
# Of a lock that is neither; lock.cpp.
_BETWEEN = ("jammed", "locking", "unlocking", "none")
_STATES = {"on": 1.0, "off": 0.0, "locked": 1.0, "unlocked": 0.0}


class Esphome:
    """Devices that run ESPHome; `topic_prefix` is their name unless they say otherwise.

    A prefix of several levels needs `prefixes`: MQTT has no wildcard for "some levels, then this".
    """

    name = "esphome"
    own = ()

    def __init__(self, table: Table, context: Context) -> None:
        self._context = context
        self._prefixes = table.take("prefixes", ["+"])
        if not isinstance(self._prefixes, list) or not all(isinstance(one, str) and one for one in self._prefixes):
            raise table.wrong("prefixes", self._prefixes, 'is not a list of topics like ["+", "home/cellar"]')
        kinds = (*_COMPONENTS, *_JSON_COMPONENTS)
        self.filters = [f"{prefix}/{kind}/+/state" for prefix in self._prefixes for kind in kinds]
        self.filters += [f"{prefix}/status" for prefix in self._prefixes]
        self.rights = (
            *(("%u", "write", f"%u/{kind}/+/state") for kind in kinds),
            ("%u", "write", "%u/status"),
            ("%u", "write", "%u/debug"),
            ("%u", "read", "%u/+/+/command"),
        )

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`."""
        if not payload:
            return []  # an empty one deletes what was retained
        levels = topic.split("/")
        if levels[-1] == "status":
            said = text(payload, "status").strip()
            if said not in (ONLINE, OFFLINE):
                raise PayloadError("status", said, "is not online or offline", "status")
            return [Status(self._context.device(self.name, "/".join(levels[:-1])), said)]
        component, entity = levels[-3:-1]
        device = self._context.device(self.name, "/".join(levels[:-3]))
        ignored: list[Ignored] = []
        if component in _JSON_COMPONENTS and payload[:1] == b"{":
            fields = mapping(document(payload, component), component)
            pairs = [((entity, *path), value) for path, value in flatten(fields, ignored)]
        elif (said := text(payload, component).strip().lower()) in ("nan", "unknown", ""):
            return [Ignored(entity, "null")]  # the sensor has no value yet
        elif said in ("inf", "-inf"):
            return [Ignored(entity, "number")]
        elif component == "lock" and said in _BETWEEN:
            return [Ignored(entity, "text")]
        else:
            pairs = [((entity,), scalar(payload, component, _STATES))]
        samples = named(pairs, ignored)
        return [*([Readings(device, samples)] if samples else []), *ignored]

"""Shelly Gen2 and later: <id>/events/rpc (NotifyStatus, NotifyFullStatus), <id>/status/<component>, <id>/online.

Source: Shelly Gen2+ API documentation, "Notifications", "MQTT" and the components' pages.
"""

from contract.errors import PayloadError
from contract.payloads import mapping
from contract.presence import OFFLINE, ONLINE
from inputs.base import Context
from inputs.facts import Fact, Ignored, Readings, Status
from inputs.table import Table
from inputs.times import instant
from inputs.values import Path, document, flatten, named, text

__all__ = ["Shelly2"]

_STATUS_METHODS = ("NotifyStatus", "NotifyFullStatus")
# Said by a component about itself, or a second time in another unit.
_BESIDE = ("id", "minute_ts", "by_minute", "ts")


class Shelly2:
    """Shelly devices of the second generation and later."""

    name = "shelly2"
    own = ()

    def __init__(self, table: Table, context: Context) -> None:
        self._context = context
        prefix = table.text("prefix", "+")
        if not prefix or prefix.endswith("/") or set(prefix.replace("+", "")) & set("#\0"):
            raise table.wrong("prefix", prefix, "is not a topic, in which + stands for the device")
        self._levels = len(prefix.split("/"))
        self.filters = (f"{prefix}/events/rpc", f"{prefix}/status/+", f"{prefix}/online")
        self.rights = (
            ("%u", "write", "%u/events/rpc"),
            ("%u", "write", "%u/status/+"),
            ("%u", "write", "%u/online"),
            ("%u", "readwrite", "%u/rpc"),
            ("%u", "read", "%u/command/#"),
        )

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`."""
        if not payload:
            return []  # an empty one deletes what was retained
        levels = topic.split("/")
        device = self._context.device(self.name, "/".join(levels[: self._levels]))
        kind = levels[self._levels]
        if kind == "online":
            said = text(payload, "online").strip()
            if said not in ("true", "false"):
                raise PayloadError("online", said, "is not true or false", "status")
            return [Status(device, ONLINE if said == "true" else OFFLINE)]
        fields = mapping(document(payload, kind), kind)
        at_s: float | None = None
        if kind == "events":
            if fields.get("method") not in _STATUS_METHODS:
                return []  # NotifyEvent: a button; it has no value
            fields = mapping(fields.get("params"), "params")
            at_s = instant(fields.get("ts"))
        else:
            fields = {levels[-1]: fields}
        ignored: list[Ignored] = []
        found = flatten(fields, ignored)
        samples = named([(_short(path), value) for path, value in found if _counts(path)], ignored, at_s)
        return [*([Readings(device, samples)] if samples else []), *ignored]


def _counts(path: Path) -> bool:
    return not any(part in _BESIDE for part in path) and path[-1] != "tF"


def _short(path: Path) -> Path:
    """Return `temperature:0`, `tC` as `temperature:0`: the unit is always Celsius."""
    return path[:-1] if path[-1] == "tC" else path

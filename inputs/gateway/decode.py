"""Gateways: items of several devices in one HTTP request, {"name": ..., "timestamp": ..., "temperature": ...}.

The listener's HTTP side knows who may send what, and hands the items of known devices over under a topic of its own:
{device id: [item, ...]}.

Source: Full Stack IoT, gateway and server.
"""

from contract.errors import PayloadError
from contract.payloads import mapping
from contract.topics import is_device
from inputs.base import Context
from inputs.facts import Fact, Ignored, Readings, Refused
from inputs.table import Table
from inputs.times import instant
from inputs.values import document, flatten, named

__all__ = ["TOPIC", "Gateway", "item_problem"]

TOPIC = "http:gateway"
_NAMES = ("name", "timestamp")


class Gateway:
    """What gateways post; the file's [gateways] say which there are."""

    name = "gateways"
    filters = ()
    rights = ()
    own = (TOPIC,)

    def __init__(self, table: Table, context: Context) -> None: ...

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`."""
        facts: list[Fact] = []
        for device, items in mapping(document(payload, "gateway"), "gateway").items():
            if not is_device(device):
                facts.append(Refused(f"{device[:80]!r} is not a device id", "device"))
                continue
            ignored: list[Ignored] = []
            readings = Readings(device, [])
            for item in items if isinstance(items, list) else ():
                problem = item_problem(item)
                if problem or not isinstance(item, dict):
                    facts.append(Refused(f"{device}: {problem}", "shape"))
                    continue
                fields = {key: value for key, value in item.items() if key not in _NAMES}
                readings.samples.extend(named(flatten(fields, ignored), ignored, instant(item.get("timestamp"))))
            facts += [*([readings] if readings.samples else []), *ignored]
        return facts


def item_problem(item: object) -> str:
    """Say why nothing of an item can be stored, "" when something can."""
    if not isinstance(item, dict):
        return "is not a JSON object"
    if not isinstance(item.get("name"), str) or not item["name"]:
        return "has no name"
    timestamp = item.get("timestamp")
    if timestamp is not None and instant(timestamp) is None:
        return "its timestamp is not a number of seconds or an ISO 8601 text with its zone"
    fields = {key: value for key, value in item.items() if key not in _NAMES}
    try:
        values = named(flatten(fields, []), [])
    except PayloadError as error:
        return str(error)
    return "" if values else "has no number"

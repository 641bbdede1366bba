"""EspNet devices: the answer of `GET /`, {"f": chip temperature, "id": ..., "gpio": {pin: 0 or 1}}.

They do not speak MQTT: the listener asks each at an interval and hands the answers over under a topic of its own.

Source: EspNet, main.py of the device.
"""

from contract.errors import PayloadError
from contract.payloads import mapping, number
from contract.presence import OFFLINE, ONLINE
from inputs.base import Context
from inputs.facts import Fact, Ignored, Readings, Status
from inputs.table import Table
from inputs.units import fahrenheit
from inputs.values import document, flatten, named

__all__ = ["Espnet"]

_TOPIC = "http:espnet/"


class Espnet:
    """EspNet devices: name -> address in the file."""

    name = "espnet"
    filters = ()
    rights = ()

    def __init__(self, table: Table, context: Context) -> None:
        self.own = (_TOPIC + "+",)
        self.poll_every_s = table.number("poll_every_s", 10, 1, 86400)
        self.devices: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        for name, value in table.below("devices").items():
            one = Table(f"{table.where}: devices: {name}", value if isinstance(value, dict) else {"address": value})
            table.device("devices", name)
            self.devices[name] = one.text("address", None)
            self._ids[name] = one.text("id")
            one.done()

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`; empty: it does not answer any more.

        Another device that answers at the address (swapped boards) is refused.
        """
        device = topic[len(_TOPIC) :]
        if not payload:
            return [Status(device, OFFLINE)]
        fields = mapping(document(payload, "answer"), "answer")
        for key in ("f", "id", "gpio"):
            if key not in fields:
                raise PayloadError("answer", sorted(map(str, fields))[:8], f"has no {key!r}", "shape")
        if self._ids.get(device) and fields["id"] != self._ids[device]:
            raise PayloadError("answer.id", fields["id"], f"is not {self._ids[device]!r}: another device", "device")
        ignored: list[Ignored] = []
        pairs = flatten({"gpio": mapping(fields["gpio"], "answer.gpio")}, ignored)
        if fields["f"] is None:
            ignored.append(Ignored("f", "null"))
        else:
            pairs.insert(0, (("temperature",), fahrenheit(number(fields["f"], "answer.f"))))
        samples = named(pairs, ignored)
        return [Status(device, ONLINE), *([Readings(device, samples)] if samples else []), *ignored]

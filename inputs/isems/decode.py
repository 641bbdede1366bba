"""ISEMS solar nodes: lines of 18 or 19 fields, over MQTT and from a node's log file.

One bad line costs that line. The node's name comes from the line, not from the topic.

Source: ISEMS data collector, importer.py and its tests.
"""

from contract.errors import ContractError, PayloadError
from contract.limits import MAX_PAYLOAD_BYTES
from contract.payloads import bare_number
from contract.readings import Sample
from inputs.base import Context
from inputs.facts import About, Fact, Readings, Refused
from inputs.table import Table
from inputs.times import instant
from inputs.values import text

__all__ = ["Isems"]

_NODE, _REVISION, _TIME, _FIRMWARE = range(4)
# The numbers, from the fifth field on.
_SENSORS = (
    "time_to_shutdown", "power_save_mode", "open_circuit_voltage", "mpp_voltage", "battery_voltage",
    "battery_charge_estimate", "battery_health_estimate", "battery_temperature", "low_voltage_disconnect_voltage",
    "temperature_corrected_voltage", "rated_battery_capacity", "rated_solar_module_capacity", "latitude", "longitude",
)  # fmt: skip
_FIELDS = (18, 19)  # 19: with the status, hexadecimal
# Names the lines in the store's memory of what it has: a node's log is read again and again.
_BOOT = "csvlog"


class Isems:
    """Nodes of an ISEMS solar mesh (open MPPT controllers)."""

    name = "isems"

    def __init__(self, table: Table, context: Context) -> None:
        self._context = context
        self.filters = (table.pattern("topic", "/isems/+/csvlog").filter,)
        self.own = ("http:isems",)
        self.rights = (("%u", "write", "/isems/%u/csvlog"),)
        # Read by the listener's poller, checked there.
        self.nodes = table.take("nodes", [])
        self.poll_every_s = table.number("poll_every_s", 300, 10, 86400)
        if not isinstance(self.nodes, list) or not all(isinstance(one, str) and one for one in self.nodes):
            raise table.wrong("nodes", self.nodes, 'is not a list of addresses like ["10.36.158.33"]')

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """See `Input`; the lines of a node that follow one another are one fact."""
        facts: list[Fact] = []
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise PayloadError("csvlog", payload[:16], f"is longer than {MAX_PAYLOAD_BYTES} bytes", "size")
        for number, line in enumerate(payload.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                device, sample, texts = self._line(text(line, f"line {number}"), f"line {number}")
            except ContractError as error:
                facts.append(Refused(str(error), error.reason))
                continue
            last = facts[-1] if facts else None
            if isinstance(last, Readings) and last.device == device:
                last.samples.append(sample)
            else:
                facts += [About(device, texts), Readings(device, [sample])]
        if not facts:
            raise PayloadError("csvlog", payload[:16], "has no line", "shape")
        return facts

    def _line(self, line: str, where: str) -> tuple[str, Sample, dict[str, str]]:
        fields = [field.strip() for field in line.split(";")]
        if len(fields) not in _FIELDS:
            raise PayloadError(where, len(fields), "fields are not 18 or 19", "shape")
        if not fields[_NODE]:
            raise PayloadError(where, line, "has no node", "name")
        values = {
            sensor: bare_number(field, f"{where}: {sensor}")
            for sensor, field in zip(_SENSORS, fields[4:18], strict=True)
            if field
        }
        if len(fields) == 19 and fields[18]:
            try:
                values["status"] = int(fields[18][:16], 16)
            except ValueError:
                raise PayloadError(f"{where}: status", fields[18], "is not hexadecimal", "number") from None
        if not values:
            raise PayloadError(where, line, "has no value", "shape")
        at_s = instant(bare_number(fields[_TIME], f"{where}: timestamp"))
        n = int(at_s) if at_s is not None and at_s >= 0 else None
        texts = {"isems_revision": fields[_REVISION][:80], "firmware": fields[_FIRMWARE][:80]}
        device = self._context.device(self.name, fields[_NODE])
        return device, Sample(values, at_s, n, _BOOT if n is not None else ""), texts

"""Points: what is stored, and the names under which it is."""

from collections.abc import Mapping

import msgspec

__all__ = ["ACTUATIONS", "BOOKKEEPING", "DEVICES", "PINS", "READINGS", "RESERVED", "SENSORS", "SERVICES", "Point"]

READINGS = "readings"
PINS = "pins"
ACTUATIONS = "actuations"
DEVICES = "devices"
SENSORS = "sensors"
SERVICES = "services"

# Fields of READINGS that name the sample; every other field is a sensor.
BOOKKEEPING = ("n", "boot")

# No sensor may be called so: the two above, the tag, and the name that InfluxDB keeps for itself.
RESERVED = frozenset((*BOOKKEEPING, "device", "time"))


class Point(msgspec.Struct, frozen=True, gc=False):
    """Values that belong to one moment.

    Writing the same measurement, tags and time again replaces fields of the same name and keeps the others.

    Attributes:
        measurement: one of READINGS, PINS, ACTUATIONS, DEVICES, SENSORS, SERVICES.
        tags: (key, value), what the point is about; few distinct values.
        fields: name -> number or text; at least one.
        ts_ns: nanoseconds since 1970.
    """

    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: Mapping[str, float | str]
    ts_ns: int

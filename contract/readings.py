"""Readings: one number, one sample of several sensors, or a back-fill of samples.

A sample is known by (device, boot, n) and its sensors: `n` counts from the device's start and
`boot` names that start, so a redelivered sample is recognised whichever boot
the retained `info` tells of by then.
"""

from contract.errors import PayloadError
from contract.limits import (
    MAX_INTEGER,
    MAX_PAYLOAD_BYTES,
    MAX_SAMPLES_PER_MESSAGE,
    MAX_SENSORS_PER_SAMPLE,
)
from contract.payloads import bare_number, encode, integer, json_of, mapping, number, string, text_of
from contract.topics import is_name


class Sample:
    """Values that were read at one moment.

    Attributes:
        values: sensor name -> number.
        t_s: seconds since 1970 by the device's clock, None when it has none.
        n: the sample's number since boot, None when the device does not count.
        boot: names the start of the device from which `n` counts, "" when not said.
        age_s: how long it waited in the device before it was sent, 0 when not said.
    """

    def __init__(
        self,
        values: "dict[str, float]",
        t_s: "float | None" = None,
        n: "int | None" = None,
        boot: str = "",
        age_s: int = 0,
    ) -> None:
        self.values = values
        self.t_s = t_s
        self.n = n
        self.boot = boot
        self.age_s = age_s

    def __repr__(self) -> str:
        return "Sample({!r}, {!r}, {!r}, {!r}, {!r})".format(self.values, self.t_s, self.n, self.boot, self.age_s)


def encode_reading(
    value: float, n: "int | None" = None, boot: str = "", t_s: "float | None" = None, age_s: int = 0
) -> bytes:
    """Return the payload of `reading/<sensor>`."""
    fields = {"v": value}  # type: dict[str, object]
    if t_s is not None:
        fields["t"] = t_s
    if n is not None:
        fields["n"] = n
    if boot:
        fields["b"] = boot
    if age_s:
        fields["a"] = age_s
    return encode(fields)


def decode_reading(sensor: str, payload: bytes) -> Sample:
    """Return the sample in a `reading/<sensor>` payload.

    Raises:
        PayloadError: it is neither a number nor an object with a number `v`.
    """
    text = text_of(payload, "reading", MAX_PAYLOAD_BYTES)
    if not text.lstrip().startswith("{"):
        return Sample({sensor: bare_number(text, "reading")})
    fields = mapping(json_of(text, "reading"), "reading")
    if "v" not in fields:
        raise PayloadError("reading", text, "has no v", "shape")
    return _sample({sensor: number(fields["v"], "reading.v")}, fields, "")


def decode_readings(payload: bytes) -> "list[Sample]":
    """Return the samples in a `readings` payload, an object or a list of objects, in their order.

    Raises:
        PayloadError: the whole message is refused: a device that sends one bad sample has a bug to be seen.
    """
    value = json_of(text_of(payload, "readings", MAX_PAYLOAD_BYTES), "readings")
    if not isinstance(value, list):
        return [_sample_of(value, "readings")]
    if not 0 < len(value) <= MAX_SAMPLES_PER_MESSAGE:
        raise PayloadError("readings", len(value), "samples are not 1 to {}".format(MAX_SAMPLES_PER_MESSAGE), "size")
    return [_sample_of(item, "readings[{}]".format(index)) for index, item in enumerate(value)]


def _sample_of(item: object, key: str) -> Sample:
    fields = mapping(item, key)
    values = {}
    for name, value in fields.items():
        if not name.startswith("_"):
            if not is_name(name):
                raise PayloadError(key, name, "is not a name: 1 to 32 of a-z 0-9 _, first a letter", "name")
            values[name] = number(value, key + "." + name)
    if not 0 < len(values) <= MAX_SENSORS_PER_SAMPLE:
        raise PayloadError(key, len(values), "sensors are not 1 to {}".format(MAX_SENSORS_PER_SAMPLE), "size")
    return _sample(values, fields, "_")


def _sample(values: "dict[str, float]", fields: "dict[str, object]", prefix: str) -> Sample:
    t_s = fields.get(prefix + "t")
    n = fields.get(prefix + "n")
    return Sample(
        values,
        None if t_s is None else number(t_s, prefix + "t"),
        None if n is None else integer(n, prefix + "n", 0, MAX_INTEGER),
        string(fields.get(prefix + "b", ""), prefix + "b", 16),
        integer(fields.get(prefix + "a") or 0, prefix + "a", 0, MAX_INTEGER),
    )

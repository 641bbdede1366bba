"""Messages to facts: what a topic and a payload say, or why they say nothing.

Pure: no clock, no memory of earlier messages. What the facts become in the
store is `assemble`'s business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from contract import topics as t
from contract.commands import Command, State, decode_command, decode_state
from contract.errors import ContractError, TopicError
from contract.presence import decode_info, decode_status
from contract.readings import Sample, decode_reading, decode_readings
from listener.errors import Rejected
from service.errors import SettingsError
from service.extra_topics import parse_extra
from store.points import RESERVED

__all__ = ["Commanded", "Decoder", "Fact", "Info", "Readings", "Reported", "Status"]

_KINDS = (t.READING, t.READINGS, t.STATUS, t.INFO, t.PIN_SET, t.PIN_STATE)


@dataclass(frozen=True, slots=True)
class Readings:
    """Samples of one device, in their order."""

    device: str
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class Status:
    """A device came, went, or sleeps: one of contract.presence.STATUSES."""

    device: str
    status: str


@dataclass(frozen=True, slots=True)
class Info:
    """What a device says about itself."""

    device: str
    info: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Commanded:
    """What a pin is told to be; None: it is released."""

    device: str
    pin: str
    command: Command | None


@dataclass(frozen=True, slots=True)
class Reported:
    """What a pin is."""

    device: str
    pin: str
    state: State


Fact = Readings | Status | Info | Commanded | Reported


class Decoder:
    """Decodes the messages of one prefix.

    Args:
        prefix: the first level(s) of the contract's topics.
        extra: "topic=device/sensor,...": topics outside the contract that carry a bare number.

    Raises:
        SettingsError: `prefix` or `extra` is malformed.
    """

    def __init__(self, prefix: str, extra: str = "") -> None:
        try:
            self._topics = t.Topics(prefix)
            # The same topics come again and again; what is no topic raises, so nothing long stays in the cache.
            self._parse = lru_cache(maxsize=8192)(self._topics.parse)
        except TopicError as error:
            raise SettingsError(f"mqtt_prefix: {error}") from None
        self._extra = _stored_extra(extra)

    def filters(self) -> list[str]:
        """Return the subscription filters for what is decoded here."""
        return [self._topics.every(kind) for kind in _KINDS] + list(self._extra)

    def decode(self, topic: str, payload: bytes) -> Fact:
        """Return what a message says.

        Raises:
            Rejected: it breaks the contract; no input raises anything else.
        """
        try:
            if topic in self._extra:
                device, sensor = self._extra[topic]
                return Readings(device, [decode_reading(sensor, payload)])
            return _fact(self._parse(topic), payload)
        except ContractError as error:
            raise Rejected(str(error), error.reason) from None


def _fact(topic: t.Topic, payload: bytes) -> Fact:
    device = topic.device
    if topic.kind == t.READING:
        return _unreserved(Readings(device, [decode_reading(topic.name, payload)]))
    if topic.kind == t.READINGS:
        return _unreserved(Readings(device, decode_readings(payload)))
    if topic.kind == t.STATUS:
        return Status(device, decode_status(payload))
    if topic.kind == t.INFO:
        return Info(device, decode_info(payload))
    if topic.kind == t.PIN_SET:
        return Commanded(device, topic.name, decode_command(payload))
    if topic.kind == t.PIN_STATE:
        return Reported(device, topic.name, decode_state(payload))
    raise Rejected(f"{topic.kind} is not stored", "kind")


def _unreserved(readings: Readings) -> Readings:
    for sample in readings.samples:
        for name in sample.values:
            if name in RESERVED:
                raise Rejected(f"sensor: {name!r} is a name that the store keeps for itself", "reserved")
    return readings


def _stored_extra(text: str) -> dict[str, tuple[str, str]]:
    found = parse_extra(text)
    for _, sensor in found.values():
        if sensor in RESERVED:
            raise SettingsError(f"topics_extra: {sensor!r} is a name that the store keeps for itself")
    return found

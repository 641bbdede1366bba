"""Messages to facts: what a topic and a payload say, or why they say nothing.

Pure: no clock, no memory of earlier messages. What the facts become in the
store is `assemble`'s business. Firmware of others comes in as `Input`s: a
topic filter and the function that decodes its messages.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from paho.mqtt.client import topic_matches_sub

from contract import topics as t
from contract.commands import Command, State, decode_command, decode_state
from contract.errors import ContractError, TopicError
from contract.limits import MAX_SAMPLES_PER_MESSAGE
from contract.presence import decode_info, decode_status
from contract.readings import Sample, decode_reading, decode_readings
from inputs.facts import About, Readings, Refused, Status
from listener.errors import Rejected
from service.errors import SettingsError
from service.extra_topics import parse_extra
from service.packets import MOST_TOPIC_CHARS
from store.points import RESERVED

__all__ = [
    "About", "Commanded", "Decoder", "Fact", "Info", "Input", "Readings", "Refused", "Reported", "Said", "Status",
]  # fmt: skip

_MOST_TOPICS = 4096  # that are remembered
_STATES = (t.STATUS, t.INFO, t.PIN_SET, t.PIN_STATE)


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


Said = Readings | Status | About | Info | Commanded | Reported
Fact = Said | Refused


@dataclass(frozen=True, slots=True)
class Input:
    """Messages outside the contract that are understood.

    Attributes:
        filter: the topic filter; subscribed to, and what it matches comes to `decode`, unless it is a topic of ours.
        decode: (topic, payload) -> facts, none when the message says nothing that is stored. Raises Rejected or
            ContractError for what it cannot read, and nothing else.
        subscribed: False for what other parts of the listener hand over, and never the broker.
    """

    filter: str
    decode: Callable[[str, bytes], Sequence[Fact]]
    subscribed: bool = True


class Decoder:
    """Decodes the messages of one prefix, and of other firmware.

    Args:
        prefix: the first level(s) of the contract's topics.
        extra: "topic=device/sensor,...": topics outside the contract that carry a bare number.
        inputs: other firmware; the first one whose filter matches decodes.

    Raises:
        SettingsError: `prefix` or `extra` is malformed.
    """

    def __init__(self, prefix: str, extra: str = "", inputs: Sequence[Input] = ()) -> None:
        try:
            self._topics = t.Topics(prefix)
        except TopicError as error:
            raise SettingsError(f"mqtt_prefix: {error}") from None
        self._extra = _stored_extra(extra)
        self._inputs = list(inputs)
        # The same topics come again and again; what is no topic raises, so nothing of a stranger stays in the cache.
        self._reader = lru_cache(maxsize=_MOST_TOPICS)(self._resolve)

    def filters(self) -> list[str]:
        """Return the subscription filters for what is decoded here."""
        return [*self.reading_filters(), *self.other_filters()]

    def reading_filters(self) -> list[str]:
        """Return those of readings that say all in one message."""
        return [self._topics.every(t.READING), self._topics.every(t.READINGS), *self._extra]

    def other_filters(self) -> list[str]:
        """Return those of states, where each message changes what the next one means, and of other firmware."""
        return [*map(self._topics.every, _STATES), *(one.filter for one in self._inputs if one.subscribed)]

    def decode(self, topic: str, payload: bytes) -> Sequence[Fact]:
        """Return what a message says.

        Raises:
            Rejected: it breaks the contract; no input raises anything else.
        """
        if len(topic) > MOST_TOPIC_CHARS:
            raise Rejected(f"topic: {topic[:40]!r}... is longer than {MOST_TOPIC_CHARS} characters", "size")
        try:
            return self._reader(topic)(payload)
        except ContractError as error:
            raise Rejected(str(error), error.reason) from None

    def place(self, topic: str) -> tuple[str, str] | None:
        """Return the device and the sensor ("": the payload names them) whose readings come on a topic of ours."""
        if topic in self._extra:
            return self._extra[topic]
        try:
            parsed = self._topics.parse(topic)
        except TopicError:
            return None
        if parsed.kind not in (t.READING, t.READINGS) or parsed.name in RESERVED:
            return None
        return parsed.device, parsed.name

    def _resolve(self, topic: str) -> Callable[[bytes], Sequence[Fact]]:
        """Return what decodes the payloads of a topic."""
        if topic in self._extra:
            device, sensor = self._extra[topic]
            return lambda payload: [Readings(device, [decode_reading(sensor, payload)])]
        try:
            parsed = self._topics.parse(topic)
        except TopicError:
            for one in self._inputs:
                if topic_matches_sub(one.filter, topic):
                    return partial(one.decode, topic)
            raise
        read = _READERS.get(parsed.kind)
        if read is None:
            raise Rejected(f"{parsed.kind} is not stored", "kind")
        return partial(read, parsed)


_READERS: dict[str, Callable[[t.Topic, bytes], Sequence[Fact]]] = {
    t.READING: lambda topic, payload: [_unreserved(Readings(topic.device, [decode_reading(topic.name, payload)]))],
    t.READINGS: lambda topic, payload: _each(topic.device, payload),
    # An empty one of these is no message of the device: somebody cleared what was retained.
    t.STATUS: lambda topic, payload: [Status(topic.device, decode_status(payload))] if payload else [],
    t.INFO: lambda topic, payload: [Info(topic.device, decode_info(payload))] if payload else [],
    t.PIN_SET: lambda topic, payload: [Commanded(topic.device, topic.name, decode_command(payload))],
    t.PIN_STATE: lambda topic, payload: [Reported(topic.device, topic.name, decode_state(payload))] if payload else [],
}


def _each(device: str, payload: bytes) -> list[Fact]:
    """Return the samples of a message; a bad one among others costs only itself.

    Raises:
        ContractError, Rejected: nothing of it can be stored.
    """
    try:
        return [_unreserved(Readings(device, decode_readings(payload)))]
    except (ContractError, Rejected):
        items = _list_in(payload)
        if not 1 < len(items) <= MAX_SAMPLES_PER_MESSAGE:
            raise
    samples: list[Sample] = []
    refused: list[Fact] = []
    for index, item in enumerate(items):
        try:  # as a list of its own, which is not one within a list
            samples += _unreserved(Readings(device, decode_readings(json.dumps([item]).encode()))).samples
        except (ContractError, Rejected) as error:
            refused.append(Refused(f"readings[{index}]: {error}", error.reason))
    return [Readings(device, samples), *refused] if samples else refused


def _list_in(payload: bytes) -> list[object]:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


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

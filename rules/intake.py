"""Messages to readings: which values of which device rules may be evaluated for.

Rules are about now, so readings count when they are received. A retained
message, of unknown age, is no reading, nor is one that waited in its device
while that was offline; of a back-fill only the newest sample is one; a sample
that came before (same device, start and number) is not one again.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from contract.errors import ContractError
from contract.limits import FRESH_S
from contract.readings import Sample, decode_reading, decode_readings
from contract.topics import READING, READINGS, RELAYED, Topics
from inputs import Inputs
from inputs.declared import NONE
from inputs.facts import Readings
from rules import metrics
from service.mqtt import Message

__all__ = ["Intake", "Reading"]


_CLOCK_SET_S = 1577836800.0  # 2020-01-01
# What came over HTTP was asked for, or collected by a gateway: an ISEMS node writes a line a minute into its log.
_FRESH_RELAYED_S = 120


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one sensor of one device."""

    device: str
    sensor: str
    value: float


class Intake:
    """Decodes messages; remembers, for each device and sensor, the newest sample's number.

    Args:
        topics: of the contract.
        extra: topic -> (device, sensor) for devices that publish a bare number elsewhere.
        wall: seconds since 1970, to tell how old a reading with a time is.
        inputs: other firmware.
    """

    def __init__(
        self,
        topics: Topics,
        extra: Mapping[str, tuple[str, str]],
        wall: Callable[[], float] = time.time,
        inputs: Inputs = NONE,
    ) -> None:
        self._wall = wall
        self._topics = topics
        self._extra = dict(extra)
        self._inputs = inputs
        self._newest: dict[tuple[str, str], tuple[str, int]] = {}  # (device, sensor) -> (boot, n)
        self._relayed_s: dict[tuple[str, str], float] = {}  # (device, sensor) -> time of the last that was relayed

    def filters(self) -> list[tuple[str, int]]:
        """Return the subscriptions, with their QoS."""
        own = map(self._topics.every, (READING, READINGS, RELAYED))
        return [(topic, 1) for topic in (*own, *self._extra, *self._inputs.filters())]

    def readings(self, message: Message) -> Iterator[Reading]:
        """Yield what is new in a message; what is not is counted by reason."""
        if message.retain:
            metrics.IGNORED.labels("retained").inc()
            return
        try:
            found, fresh_s = self._decode(message)
        except ContractError:
            metrics.IGNORED.labels("invalid").inc()
            return
        for device, samples in found:
            yield from self._newest_of(device, samples, fresh_s)

    def _newest_of(self, device: str, samples: Sequence[Sample], fresh_s: float) -> Iterator[Reading]:
        newest: dict[str, tuple[Sample, float]] = {}
        for sample in samples:
            for sensor, value in sample.values.items():
                newest[sensor] = (sample, value)
        for sensor, (sample, value) in newest.items():
            if not self._is_new(device, sensor, sample):
                metrics.IGNORED.labels("repeated").inc()
            elif sample.age_s > fresh_s or self._is_past(sample.t_s, fresh_s):
                metrics.IGNORED.labels("old").inc()
            elif fresh_s == _FRESH_RELAYED_S and self._is_passed(device, sensor, sample.t_s):
                metrics.IGNORED.labels("repeated").inc()
            else:
                yield Reading(device, sensor, value)

    def _decode(self, message: Message) -> tuple[list[tuple[str, list[Sample]]], float]:
        """Return (device, its samples), and how many seconds old they may be."""
        payload = bytes(message.payload)
        if message.topic in self._extra:
            device, sensor = self._extra[message.topic]
            return [(device, [decode_reading(sensor, payload)])], FRESH_S
        if message.topic.startswith(self._topics.prefix + "/") or self._inputs.find(message.topic) is None:
            topic = self._topics.parse(message.topic)
            if topic.kind == READING:
                return [(topic.device, [decode_reading(topic.name, payload)])], FRESH_S
            fresh_s = _FRESH_RELAYED_S if topic.kind == RELAYED else FRESH_S
            return [(topic.device, decode_readings(payload))], fresh_s
        facts = self._inputs.decode(message.topic, payload)
        return [(fact.device, fact.samples) for fact in facts if isinstance(fact, Readings)], FRESH_S

    def _is_past(self, t_s: float | None, fresh_s: float) -> bool:
        """Tell whether a device's time is long ago; one before 2020 was never set (as to the listener)."""
        return t_s is not None and _CLOCK_SET_S <= t_s < self._wall() - fresh_s

    def _is_passed(self, device: str, sensor: str, t_s: float | None) -> bool:
        """Tell whether a newer value, or this one, was relayed before: a gateway repeats itself to a new listener."""
        if t_s is None:
            return False
        last_s = self._relayed_s.get((device, sensor), 0.0)
        if t_s <= last_s <= self._wall():  # one that is yet to come: a clock was put back since
            return True
        self._relayed_s[device, sensor] = t_s
        return False

    def _is_new(self, device: str, sensor: str, sample: Sample) -> bool:
        if sample.n is None or not sample.boot:
            return True  # a device that does not say which start it counts from may have started again
        boot, n = self._newest.get((device, sensor), ("", -1))
        if sample.boot == boot and sample.n <= n:
            return False
        self._newest[device, sensor] = (sample.boot, sample.n)
        return True

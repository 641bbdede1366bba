"""The common reading, read quickly: the way of nearly every message, several times faster than the general one.

Takes what needs no judgement: an object of numbers, or one number, from a
device whose sensors and clock are known. Everything else gives None, and the
general way (`decode`, `assemble`) says what it is; where both ways know an
answer it is the same, which a test keeps so.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from contract.errors import PayloadError
from contract.limits import MAX_INTEGER, MAX_PAYLOAD_BYTES, MAX_SENSORS_PER_SAMPLE
from contract.payloads import string
from contract.topics import is_name
from listener.identity import together
from service.packets import MOST_TOPIC_CHARS
from service.remembered import Remembered
from store.points import RESERVED

__all__ = ["Plain", "QuickReader"]

_MOST_BOOTS = 8192
_MOST_PLACES_BYTES, _MOST_SHAPES_BYTES = 4 << 20, 2 << 20
_SINGLE = {"v", "t", "n", "b"}  # of `reading/<sensor>`
_SEVERAL = {"_t", "_n", "_b"}  # of `readings`, beside the sensors

_Number = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | float
_numbers = msgspec.json.Decoder(dict[str, _Number] | _Number).decode
_numbers_and_texts = msgspec.json.Decoder(dict[str, _Number | str] | _Number).decode

# device, sensor -> number, the sensors' names (see `together`), and t_s, n and boot as in
# `contract.readings.Sample`. A tuple: a tenth of the cost of an object.
Plain = tuple[str, Mapping[str, float], str, float | None, int | None, str]


class _Place(msgspec.Struct, gc=False):
    """What comes on a topic.

    Attributes:
        decode: what read its last message: one that allows texts costs a look at each value.
    """

    device: str
    sensor: str
    decode: Callable[[bytes], Any] = _numbers


class _Shape(msgspec.Struct, frozen=True, gc=False):
    """What an object with certain keys in a certain order is."""

    names: tuple[str, ...]  # sensors
    sensors: str
    bare: bool  # has sensors only


class QuickReader:
    """Reads messages; used by one thread.

    Args:
        place: topic -> (device, sensor; "" when the payload names them), None for a topic that has no readings of ours.
    """

    def __init__(self, place: Callable[[str], tuple[str, str] | None]) -> None:
        self._place = place
        self._places = Remembered[str, _Place | None](_MOST_PLACES_BYTES)
        self._shapes = Remembered[tuple[str, ...], _Shape | None](_MOST_SHAPES_BYTES)
        self._boots: set[str] = {""}

    def read(self, topic: str, payload: bytes) -> Plain | None:
        """Return the sample in a message, None when it is not as simple as that."""
        try:
            place = self._places[topic]
        except KeyError:
            if len(topic) > MOST_TOPIC_CHARS:
                return None
            found_place = self._place(topic)
            place = _Place(*found_place) if found_place else None
            self._places.keep(topic, place, 2 * len(topic))
        if place is None or len(payload) > MAX_PAYLOAD_BYTES:
            return None
        try:
            found = place.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if place.decode is _numbers_and_texts:
                return None
            place.decode = _numbers_and_texts
            return self.read(topic, payload)
        if place.sensor:
            return self._single(place, found)
        if type(found) is not dict:
            return None
        keys = tuple(found)
        try:
            shape = self._shapes[keys]
        except KeyError:
            shape = _shape(keys)
            self._shapes.keep(keys, shape, sum(map(len, keys)) + 70 * len(keys))
        if shape is None:
            return None
        values = found if shape.bare else {name: found[name] for name in shape.names}
        if place.decode is _numbers_and_texts:
            for value in values.values():
                if type(value) is str:
                    return None
        if shape.bare:
            return (place.device, values, shape.sensors, None, None, "")
        return self._booked(place.device, values, shape.sensors, found.get("_t"), found.get("_n"), found.get("_b", ""))

    def _single(self, place: _Place, found: Any) -> Plain | None:
        if type(found) is not dict:
            return (place.device, {place.sensor: found}, place.sensor, None, None, "")
        value = found.get("v", "")
        if type(value) is str or not found.keys() <= _SINGLE:
            return None
        return self._booked(
            place.device, {place.sensor: value}, place.sensor, found.get("t"), found.get("n"), found.get("b", "")
        )

    def _booked(self, device: str, values: dict[str, float], sensors: str, t_s: Any, n: Any, boot: Any) -> Plain | None:
        """Return the sample, if what names it is well-formed."""
        if boot not in self._boots:
            try:
                string(boot, "", 16)
            except PayloadError:
                return None
            if len(self._boots) > _MOST_BOOTS:
                self._boots = {""}
            self._boots.add(boot)
        if (n is not None and (type(n) is not int or n < 0)) or type(t_s) is str:
            return None
        return (device, values, sensors, t_s, n, boot)


def _shape(keys: tuple[str, ...]) -> _Shape | None:
    names = tuple(key for key in keys if not key.startswith("_"))
    if not 0 < len(names) <= MAX_SENSORS_PER_SAMPLE or not set(keys) <= {*names, *_SEVERAL}:
        return None
    if not all(map(is_name, names)) or RESERVED.intersection(names):
        return None
    return _Shape(names, together(names), len(names) == len(keys))

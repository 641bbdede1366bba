"""The common reading, read quickly: the way of nearly every message, several times faster than the general one.

Takes what needs no judgement: an object of numbers, or one number, from a
device whose sensors and clock are known. Everything else gives None, and the
general way (`decode`, `assemble`) says what it is; where both ways know an
answer it is the same, which a test keeps so.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from contract.errors import PayloadError
from contract.limits import MAX_INTEGER, MAX_PAYLOAD_BYTES, MAX_SENSORS_PER_SAMPLE
from contract.payloads import string
from contract.topics import is_name
from store.points import RESERVED

__all__ = ["Plain", "QuickReader"]

_MOST_REMEMBERED = 16384
_SINGLE = {"v", "t", "n", "b"}  # of `reading/<sensor>`
_SEVERAL = {"_t", "_n", "_b"}  # of `readings`, beside the sensors


class Plain(msgspec.Struct, gc=False):
    """A sample; one object is used again for each message.

    Attributes:
        device: whose it is.
        values: sensor -> number.
        sensors: their names, sorted and joined by commas.
        t_s, n, boot: as in `contract.readings.Sample`.
    """

    device: str = ""
    values: Mapping[str, float] = {}
    sensors: str = ""
    t_s: float | None = None
    n: int | None = None
    boot: str = ""


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
        self._places: dict[str, tuple[str, str] | None] = {}
        self._shapes: dict[tuple[str, ...], _Shape | None] = {}
        self._boots: set[str] = {""}
        self._decode = msgspec.json.Decoder(dict[str, int | float | str] | int | float).decode
        self._plain = Plain()

    def read(self, topic: str, payload: bytes) -> Plain | None:
        """Return the sample in a message, until the next call; None when it is not as simple as that."""
        try:
            place = self._places[topic]
        except KeyError:
            place = self._remember(self._places, topic, self._place(topic))
        if place is None or len(payload) > MAX_PAYLOAD_BYTES:
            return None
        try:
            found: Any = self._decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        plain = self._plain
        plain.device, sensor = place
        if sensor:
            return self._single(plain, sensor, found)
        if type(found) is not dict:
            return None
        keys = tuple(found)
        try:
            shape = self._shapes[keys]
        except KeyError:
            shape = self._remember(self._shapes, keys, _shape(keys))
        if shape is None:
            return None
        plain.sensors = shape.sensors
        if shape.bare:
            plain.values = found
            plain.t_s = plain.n = None
            plain.boot = ""
        else:
            plain.values = {name: found[name] for name in shape.names}
            if not self._book(plain, found.get("_t"), found.get("_n"), found.get("_b", "")):
                return None
        for value in plain.values.values():
            if type(value) is not float and (type(value) is not int or not -MAX_INTEGER <= value <= MAX_INTEGER):
                return None
        return plain

    def _single(self, plain: Plain, sensor: str, found: Any) -> Plain | None:
        if type(found) is dict:
            if "v" not in found or not found.keys() <= _SINGLE:
                return None
            if not self._book(plain, found.get("t"), found.get("n"), found.get("b", "")):
                return None
            found = found["v"]
        else:
            plain.t_s = plain.n = None
            plain.boot = ""
        if type(found) is not float and (type(found) is not int or not -MAX_INTEGER <= found <= MAX_INTEGER):
            return None
        plain.sensors = sensor
        plain.values = {sensor: found}
        return plain

    def _book(self, plain: Plain, t_s: Any, n: Any, boot: Any) -> bool:
        """Put down what names the sample, if it is well-formed."""
        if boot not in self._boots:
            try:
                string(boot, "", 16)
            except PayloadError:
                return False
            if len(self._boots) > _MOST_REMEMBERED:
                self._boots = {""}
            self._boots.add(boot)
        if n is not None and (type(n) is not int or not 0 <= n <= MAX_INTEGER):
            return False
        if t_s is not None and (type(t_s) is str or not -MAX_INTEGER <= t_s <= MAX_INTEGER):
            return False
        plain.t_s, plain.n, plain.boot = t_s, n, boot
        return True

    @staticmethod
    def _remember(known: dict[Any, Any], key: Any, value: Any) -> Any:
        if len(known) >= _MOST_REMEMBERED:
            known.clear()
        known[key] = value
        return value


def _shape(keys: tuple[str, ...]) -> _Shape | None:
    names = tuple(key for key in keys if not key.startswith("_"))
    if not 0 < len(names) <= MAX_SENSORS_PER_SAMPLE or not set(keys) <= {*names, *_SEVERAL}:
        return None
    if not all(map(is_name, names)) or RESERVED.intersection(names):
        return None
    return _Shape(names, ",".join(sorted(names)), len(names) == len(keys))

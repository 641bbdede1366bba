"""Points as InfluxDB line protocol, byte for byte.

Every number is written as a float: the first write of a field fixes its type,
and a device that sends `21` and then `21.5` must not lose the second. What the
protocol cannot carry unharmed is refused here, in every store alike.

Source: docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol
"""

import math
import re
from collections.abc import Iterable
from functools import lru_cache

from service.remembered import Remembered
from store.errors import StoreError
from store.points import Point

__all__ = ["line", "lines", "tag_text"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MOST_REMEMBERED = 4096
# (measurement, tags) -> a line up to the fields
_heads = Remembered[tuple[str, tuple[tuple[str, str], ...]], str](4 << 20)
_names = Remembered[str, str](2 << 20)  # field -> its escaped name and "="

_MIN_TS_NS, _MAX_TS_NS = -(2**63) + 2, 2**63 - 2  # InfluxDB keeps the outermost values for itself


def lines(points: Iterable[Point]) -> bytes:
    """Return the points, one a line.

    Raises:
        StoreError: permanent; a point cannot be written.
    """
    heads, names = _heads, _names
    found: list[str] = []
    for point in points:
        # Heads and names come again and again; what comes for the first time, or is not so simple, is `line`'s.
        ts_ns = point.ts_ns
        try:
            text = heads[point.measurement, point.tags]
            separator = " "
            for key, value in point.fields.items():
                shown = repr(value) if type(value) is float and value - value == 0.0 else _other_value(value)
                text += f"{separator}{names[key]}{shown}"
                separator = ","
        except KeyError:
            separator = " "
        if separator == "," and _MIN_TS_NS <= ts_ns <= _MAX_TS_NS:
            found.append(f"{text} {ts_ns}")
        else:
            found.append(line(point))
            head = _head(point)
            heads.keep((point.measurement, point.tags), head, 4 * len(head) + 200)
            for key in point.fields:
                if key not in names:
                    names.keep(key, _name(key) + "=", 2 * len(key))
    return "\n".join(found).encode()


def line(point: Point) -> str:
    """Return one point without the line's end.

    Raises:
        StoreError: permanent; the message says which part cannot be written.
    """
    if not point.fields:
        raise _refused("fields", "", "are none")
    if not _MIN_TS_NS <= point.ts_ns <= _MAX_TS_NS:
        raise _refused("time", point.ts_ns, "is not a 64 bit number of nanoseconds")
    fields = ",".join([f"{_name(key)}={_value(value)}" for key, value in point.fields.items()])
    return f"{_head(point)} {fields} {point.ts_ns}"


def _head(point: Point) -> str:
    tags = "," + tag_text(point.tags) if point.tags else ""
    return _name(point.measurement, measurement=True) + tags


@lru_cache(maxsize=_MOST_REMEMBERED)
def tag_text(tags: tuple[tuple[str, str], ...]) -> str:
    """Return tags as they stand in a line, sorted by key; equal tags give equal text.

    Raises:
        StoreError: permanent; a tag cannot be written.
    """
    return ",".join([f"{_name(key)}={_name(value)}" for key, value in sorted(tags)])


@lru_cache(maxsize=_MOST_REMEMBERED)
def _name(text: str, measurement: bool = False) -> str:
    """Return a measurement, tag key, tag value or field key, escaped.

    A backslash is refused: parsers differ on what it means outside a quoted value.
    """
    if not text or "\\" in text or _CONTROL.search(text):
        raise _refused("name", text, "is empty, or holds a backslash or a control character")
    if measurement and text.startswith("#"):
        raise _refused("measurement", text, "would be a comment")
    escaped = text.replace(",", "\\,").replace(" ", "\\ ")
    return escaped if measurement else escaped.replace("=", "\\=")


@lru_cache(maxsize=_MOST_REMEMBERED)
def _other_value(value: float | str) -> str:
    """Return a value that is no finite float: whole numbers and texts that come again."""
    return _value(value)


def _value(value: float | str) -> str:
    if isinstance(value, str):
        if _CONTROL.search(value):
            raise _refused("text", value, "holds a control character")
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _refused("number", value, "is not finite")
    return repr(number)


def _refused(key: str, value: object, rule: str) -> StoreError:
    return StoreError(f"{key}: {value!r:.80} {rule}", permanent=True)

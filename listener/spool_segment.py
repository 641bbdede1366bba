"""A segment of the spool: records in one file, written at its end, read from anywhere. Knows no reader and no clock.

    "PLSPOOL", the version of the format (one byte), records

A record, numbers little-endian: marker "PLR1", length of the body (u32), points in it (u32), time of its append in
nanoseconds by the spool's own clock (u64; near those since 1970), CRC-32 of those four and the body (u32), body
(`spool_record`). Positions are those of the whole spool: a file's first byte has the position that it is named after.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HEAD", "VERSION", "Record", "framed", "records", "version"]

VERSION = 1
HEAD = b"PLSPOOL" + bytes([VERSION])
_MARKER = b"PLR1"
_FIELDS = struct.Struct("<4sIIQ")
_CRC = struct.Struct("<I")
_FRAME_BYTES = _FIELDS.size + _CRC.size


@dataclass(frozen=True, slots=True)
class Record:
    """A record that was read.

    Attributes:
        end: the position after it.
        points: how many it holds.
        appended_ns: when it was appended, by the spool's own clock.
        body: see `spool_record`.
    """

    end: int
    points: int
    appended_ns: int
    body: bytes


def version(head: bytes) -> int:
    """Return the version that the first bytes of a segment say, 0 when they say none."""
    return head[-1] if len(head) == len(HEAD) and head[:-1] == HEAD[:-1] else 0


def framed(body: bytes, points: int, appended_ns: int) -> bytes:
    """Return a record as it is written."""
    fields = _FIELDS.pack(_MARKER, len(body), points, appended_ns)
    return b"".join((fields, _CRC.pack(zlib.crc32(body, zlib.crc32(fields))), body))


def records(path: Path, base: int, start: int, end: int) -> Iterator[tuple[int, Record | str]]:
    """Return (position after it, record) of the segment at `base`, from the position `start` to `end`.

    Instead of a record "torn", when it ends too early, or "damaged", when it is not what was written; the next one is
    the next that is whole. A segment that was deleted meanwhile has none.

    Raises:
        OSError: the disk does not give it.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        at = max(start, base + len(HEAD))
        while at < end:
            found = _record(file, base, at, end)
            at = _next_whole(file, base, at + 1, end) if isinstance(found, str) else found.end
            yield at, found
    finally:
        os.close(file)


def _record(file: int, base: int, at: int, limit: int) -> Record | str:
    """Return the record at a position; "torn" when it ends too early, "damaged" when it is not what was written."""
    head = os.pread(file, min(_FRAME_BYTES, limit - at), at - base)
    if len(head) < _FRAME_BYTES:
        return "torn"
    marker, length, points, appended_ns = _FIELDS.unpack_from(head)
    end = at + _FRAME_BYTES + length
    if marker != _MARKER or end > limit:
        return "torn" if marker == _MARKER else "damaged"
    body = os.pread(file, length, at - base + _FRAME_BYTES)
    if zlib.crc32(body, zlib.crc32(head[: _FIELDS.size])) != _CRC.unpack_from(head, _FIELDS.size)[0]:
        return "damaged"
    return Record(end, points, appended_ns, body)


def _next_whole(file: int, base: int, at: int, limit: int) -> int:
    """Return the position of the next record that is whole, else the segment's end."""
    rest = os.pread(file, limit - at, at - base)
    found = rest.find(_MARKER)
    while found >= 0:
        if isinstance(_record(file, base, at + found, limit), Record):
            return at + found
        found = rest.find(_MARKER, found + 1)
    return limit

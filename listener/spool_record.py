"""A batch as the body of a spool's record, and back. Pure.

zlib (level 1) over MessagePack of `[messages, starts, points]`, where a
message is `[topic, payload, received_ns]`, a point `[measurement, tags,
fields, ts_ns]` and `starts` says which point is the first of which message.
Compressed because an outage of hours should fit on a small board's card:
readings of one device resemble one another, a tenth is usual.

Source: github.com/msgpack/msgpack/blob/master/spec.md
"""

import zlib
from typing import NamedTuple

import msgspec

from listener.batch import Batch, Kept
from store.points import Point

__all__ = ["decode", "encode"]

_LEVEL = 1


class _Row(NamedTuple):
    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: dict[str, float | str]
    ts_ns: int


_Body = tuple[list[Kept], list[int], list[_Row]]
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Body)


def encode(batch: Batch) -> bytes:
    """Return the body for a batch.

    Raises:
        ValueError: a point holds what no store takes: a number beyond 64 bits, text that is no Unicode.
    """
    rows = [(point.measurement, point.tags, point.fields, point.ts_ns) for point in batch.points]
    messages = [(one.topic, one.payload, one.received_ns) for one in batch.messages]
    try:
        return zlib.compress(_ENCODER.encode((messages, batch.starts, rows)), _LEVEL)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def decode(body: bytes) -> Batch:
    """Return the batch of a body.

    Raises:
        ValueError: it is not what `encode` makes.
    """
    try:
        messages, starts, rows = _DECODER.decode(zlib.decompress(body))
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(str(error)) from None
    return Batch([Point(*row) for row in rows], starts, messages)

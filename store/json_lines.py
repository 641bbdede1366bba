"""Points as JSON lines on a stream, for whatever reads a pipe: one object a point.

{"measurement":"readings","tags":{"device":"pot"},"fields":{"pot":61.5},"ts_ns":1763690000000000000}
"""

import json
import os
import select
from collections.abc import Sequence

from store.errors import StoreError
from store.points import Point

__all__ = ["JsonLinesSink"]


class JsonLinesSink:
    """Writes to the file descriptor `output` (1: standard output); a reader that is too slow is waited for."""

    def __init__(self, output: int = 1) -> None:
        self._output = output

    def write(self, points: Sequence[Point]) -> None:
        """See `Store.write`; what cannot be said in JSON (NaN) is refused for good."""
        try:
            rest = memoryview("".join(_json(point) + "\n" for point in points).encode())
        except ValueError as error:
            raise StoreError(f"stdout: {error}", permanent=True) from None
        try:
            while rest:
                try:
                    rest = rest[os.write(self._output, rest) :]
                except BlockingIOError:  # whoever shares the pipe has made it so; half a line is out already
                    select.select((), (self._output,), ())
        except OSError as error:
            raise StoreError(f"stdout: {error.strerror}") from error

    def close(self) -> None:
        """Leave it open: it is not ours."""


def _json(point: Point) -> str:
    said = {
        "measurement": point.measurement, "tags": dict(point.tags), "fields": dict(point.fields), "ts_ns": point.ts_ns,
    }  # fmt: skip
    return json.dumps(said, allow_nan=False, separators=(",", ":"))

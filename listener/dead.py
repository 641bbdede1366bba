"""The dead-letter file: points that the store refuses for good, with the reason.

JSON lines, one a point, synced before the message is acknowledged. `line` is
line protocol, so a repaired file can be written to InfluxDB as it is.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from store import Point, StoreError
from store.lines import line

__all__ = ["DeadLetters"]


class DeadLetters:
    """Appends to the file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, point: Point, reason: str) -> None:
        """Append a point.

        Raises:
            StoreError: transient; the file cannot be written, so the point must not be let go.
        """
        try:
            text = line(point)
        except StoreError:  # it cannot be put as line protocol, which is why it is here
            text = None
        record = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "reason": reason,
            "line": text,
            "point": {"measurement": point.measurement, "tags": dict(point.tags), "fields": dict(point.fields)},
            "ts_ns": point.ts_ns,
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab+") as file:
                # A crash may have left half a line; it must not take this one with it.
                torn = file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
                file.write(b"\n" * bool(torn) + json.dumps(record).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error

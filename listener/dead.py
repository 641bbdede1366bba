"""Dead letters: points that a store refuses for good and messages that nobody can read, kept with the reason.

JSON lines, one a letter, each with `at`, `by` (who refused: a store's name, or
"decoder"), `reason`, `topic` and `payload` (`payload_base64` when it is no
text). A refused point has `line`, too, which is line protocol, and `point`
and `ts_ns`. Points are synced before their message is acknowledged. The file
is bounded: when it is full it becomes `<name>.1`, in place of the one before.

Other processes read and rewrite the file (`pinloop deadletter`), so it is
opened anew for each addition, under a lock.
"""

import base64
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from listener import metrics
from listener.batch import Origin
from listener.dead_file import locked, older
from service import logs
from service.failpoints import crash_at
from store import Point, StoreError
from store.lines import line

__all__ = ["DeadLetters"]

_MOST_PAYLOAD_BYTES = 65536
# One broken device must not push the letters of others out of the file, least of all refused points: of messages so
# many are kept, and so much of the file's bound at once and then in an hour.
_MESSAGES_PER_S = 20.0
_MESSAGES_AT_ONCE = 1000.0
_SHARE = 8


class DeadLetters:
    """Appends to the file `path`; used by several threads.

    Args:
        max_bytes: most bytes of the file and the one before it together.
    """

    def __init__(self, path: Path, max_bytes: int = 64 << 20) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._log = logs.get("dead")
        self._messages = _MESSAGES_AT_ONCE  # that may be kept now
        self._bytes = max_bytes / _SHARE  # likewise
        self._counted_s = time.monotonic()
        self._known: tuple[object, int] = (None, 0)  # what the files looked like, and how many letters were in them
        metrics.LETTERS_KEPT.set_function(self.kept)

    def kept(self) -> int:
        """Return how many letters there are; the files are only read when they have changed."""
        files = [one for one in (older(self._path), self._path) if one.exists()]
        try:
            look = [(one.stat().st_mtime_ns, one.stat().st_size) for one in files]
            if look != self._known[0]:
                self._known = (look, sum(_lines_in(one) for one in files))
        except OSError:
            pass  # it has just been replaced, or cannot be read: what was known stays
        return self._known[1]

    def problem(self) -> str | None:
        """Say how many letters there are, None for none; a warning for `Health`."""
        count = self.kept()
        return f"{count} in {self._path}" if count else None

    def add_points(self, by: str, letters: Sequence[tuple[Point, Origin | None, str]]) -> None:
        """Keep points, each with its message and the reason; they are on the disk when this returns.

        Raises:
            StoreError: transient; the file cannot be written, so the points must not be let go.
        """
        if not letters:
            return
        self._append([_text({**_letter(by, reason, origin), **_point(point)}) for point, origin, reason in letters])
        metrics.DEAD_LETTERS.inc(len(letters))
        self._log.error("refused points are dead letters", store=by, points=len(letters), last_reason=letters[-1][2])

    def add_messages(self, letters: Sequence[tuple[Origin, str]]) -> None:
        """Keep messages that cannot be read, each with the reason; some are only counted when there are very many.

        Never raises: a stranger's message must not hold up what can be read.
        """
        texts: list[bytes] = []
        for origin, reason in letters:
            text = _text(_letter("decoder", reason, origin))
            if not self._spares(len(text)):
                metrics.LETTERS_LOST.labels("rate").inc(len(letters) - len(texts))
                break
            texts.append(text)
        if not texts:
            return
        try:
            self._append(texts)
        except StoreError as error:
            metrics.LETTERS_LOST.labels("disk").inc(len(texts))
            self._log.error("dead letters cannot be kept", messages=len(texts), error=str(error))
        else:
            metrics.DEAD_LETTERS.inc(len(texts))

    def _spares(self, size_bytes: int) -> bool:
        """Tell whether a message's letter may be kept, and count it then."""
        with self._lock:
            now_s = time.monotonic()
            passed_s, self._counted_s = now_s - self._counted_s, now_s
            most_bytes = self._max_bytes / _SHARE
            self._messages = min(_MESSAGES_AT_ONCE, self._messages + passed_s * _MESSAGES_PER_S)
            self._bytes = min(most_bytes, self._bytes + passed_s * most_bytes / 3600)
            if self._messages < 1 or self._bytes < size_bytes:
                return False
            self._messages -= 1
            self._bytes -= size_bytes
            return True

    def _append(self, texts: Sequence[bytes]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._path):
                for data in _parts(texts, self._max_bytes // 2):
                    self._append_part(data)
            crash_at("dead.synced")
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error

    def _append_part(self, data: bytes) -> None:
        if self._path.exists() and self._path.stat().st_size + len(data) > self._max_bytes // 2:
            self._rotate()
        with self._path.open("ab+") as file:
            # A crash may have left half a line; it must not take this one with it.
            torn = file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
            file.write(b"\n" * bool(torn) + data)
            file.flush()
            os.fsync(file.fileno())

    def _rotate(self) -> None:
        before = older(self._path)
        if before.exists():
            with before.open("rb") as file:
                metrics.LETTERS_LOST.labels("room").inc(sum(1 for _ in file))
        self._path.replace(before)


def _lines_in(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _parts(texts: Sequence[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yield the texts, as many together as fit into so many bytes."""
    part: list[bytes] = []
    size_bytes = 0
    for text in texts:
        if part and size_bytes + len(text) > most_bytes:
            yield b"".join(part)
            part, size_bytes = [], 0
        part.append(text)
        size_bytes += len(text)
    yield b"".join(part)


def _text(letter: dict[str, Any]) -> bytes:
    return json.dumps(letter).encode() + b"\n"


def _letter(by: str, reason: str, origin: Origin | None) -> dict[str, Any]:
    letter: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "by": by,
        "reason": reason,
        "topic": None,
        "payload": None,
    }
    if origin is not None:
        payload = bytes(origin.payload[:_MOST_PAYLOAD_BYTES])
        letter.update(topic=origin.topic, received_ns=origin.received_ns)
        try:
            letter["payload"] = payload.decode()
        except UnicodeDecodeError:
            letter["payload_base64"] = base64.b64encode(payload).decode()
        if len(payload) < len(origin.payload):
            letter["payload_bytes"] = len(origin.payload)  # and it is cut off
    return letter


def _point(point: Point) -> dict[str, Any]:
    try:
        text = line(point)
    except StoreError:  # it cannot be put as line protocol, which is why it is here
        text = None
    return {
        "line": text,
        "point": {"measurement": point.measurement, "tags": dict(point.tags), "fields": dict(point.fields)},
        "ts_ns": point.ts_ns,
    }

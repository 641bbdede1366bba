"""The spool: batches on disk that a store has yet to take. Holds none of them in memory.

An append-only log in one folder. Every byte has a position that is never used
again; a file (segment) is named after the position of its first byte:

    00000000000000000000.spool   records, see `spool_segment`
    main.cursor                  the position up to which the store `main` has taken everything, and its CRC-32 (text)

`append` returns when the record is on the disk (fsync): only then may its
messages be acknowledged. Whatever a crash or a bad sector left is passed over
up to the next record that is whole, and counted; an old segment is never
written to again. A cursor may lag behind after a crash: points that come twice
replace themselves. A segment goes when every reader has passed it.

Age is counted by a clock of the spool's own, because the wall clock may be set at any time (no battery, then NTP): it
runs while the process does, and begins at the last record that is there. So neither a step of the clock nor the time
in which nothing ran makes a record old; a record that waits in running listeners gets as old as it waits.
"""

import errno
import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from listener import metrics
from listener.spool_segment import HEAD, VERSION, Record, framed, records, version
from service import logs
from service.failpoints import crash_at

__all__ = ["Spool", "SpoolError"]

_SEGMENTS = 16  # of which a full spool consists: what is passed is given back in such steps
_LARGEST_SEGMENT_BYTES = 8 << 20
# What is read at once, compressed, beyond one record: readings of many sensors are a thousand bytes each in memory.
_READ_BYTES = 256 << 10
_WORTH_DELETING_BYTES = 1 << 20  # a segment that is still written to
_CURSOR_EVERY_S = 1.0
# Of a version that took the wall clock's time, while that was not set: it says nothing about the record's age.
_LEAST_NS = 1577836800 * 10**9  # 2020-01-01
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class SpoolError(Exception):
    """The spool cannot take a record, for now: it is full, or the disk is, or it cannot be written."""


class Spool:
    """The log in the folder `path`; made when it is first needed. Used by several threads.

    Args:
        max_bytes: most bytes of all segments together.
        max_age_s: a record that has waited longer is dropped when it is read.

    Attributes:
        path: the folder.

    Raises:
        SpoolError: it was written by a later version, or the disk does not give it.
    """

    def __init__(self, path: Path, max_bytes: int, max_age_s: float) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._max_age_ns = int(max_age_s * 1e9)
        self._segment_bytes = min(max_bytes // _SEGMENTS, _LARGEST_SEGMENT_BYTES)
        self._log = logs.get("spool")
        self._changed = threading.Condition()
        self._segments: dict[int, int] = {}  # position of the first byte -> bytes, rising
        self._next = 0  # the position after all of them
        self._file: int | None = None  # the segment that is written, the last of them, and its first position
        self._base = 0
        self._positions: dict[str, int] = {}  # reader -> what it reads next
        self._required: set[str] = set()
        self._saved: dict[str, tuple[int, float]] = {}  # reader -> its cursor, and when that was written
        self._ending = False
        self._find()
        self._clock_ahead_ns = max(self._last_ns() or time.time_ns(), _LEAST_NS) - time.monotonic_ns()

    def add_reader(self, name: str, *, required: bool, from_start: bool) -> None:
        """Add a reader, before the first `append`.

        Args:
            name: a file's name.
            required: what it has not read is never dropped for want of room; `append` fails instead.
            from_start: where it begins without a cursor: at what there is, or at what comes.
        """
        with self._changed:
            first, end = next(iter(self._segments), self._next), self._next
            path = self.path / f"{name}.cursor"
            if path.exists() or from_start:
                # A cursor that cannot be read: rather twice than not at all.
                self._positions[name] = min(max(_cursor(path) or first, first), end)
            else:
                self._positions[name] = end
                self._save(name, now=True)
            if required:
                self._required.add(name)

    def append(self, body: bytes, points: int) -> int:
        """Write a record and return the position after it; the record survives a power cut.

        Raises:
            SpoolError: it, or the disk, is full of what required readers have not read; or it cannot be written.
        """
        record = framed(body, points, self._now_ns())
        with self._changed:
            self._make_room(len(record) + len(HEAD))
            while True:
                try:
                    self._write(record)
                    break
                except OSError as error:
                    self._abandon()
                    if error.errno not in _NO_ROOM or not self._give_up_oldest("disk"):
                        raise SpoolError(f"{self.path}: {error.strerror}") from error
            self._changed.notify_all()
            return self._next

    def read(self, name: str, most_points: int, until: int) -> list[Record]:
        """Return the next records of a reader, at most so many points, 256 KB or one record, none after `until`.

        What is damaged or too old is passed over and counted; the rest is returned until `advance` says it is done.

        Raises:
            SpoolError: the disk does not give it.
        """
        taken: list[Record] = []
        points = size_bytes = 0
        dropped: Counter[str] = Counter()
        try:
            for end, found in self._walk(self._positions[name], until):
                why = found if isinstance(found, str) else "age" if self._too_old(found) else ""
                if isinstance(found, str) or why:
                    if taken:
                        break
                    dropped[why] += 1 if isinstance(found, str) else found.points  # of damage nobody knows how many
                    self.advance(name, end)
                elif taken and (points + found.points > most_points or size_bytes + len(found.body) > _READ_BYTES):
                    break
                else:
                    taken.append(found)
                    points += found.points
                    size_bytes += len(found.body)
        except OSError as error:
            raise SpoolError(f"{self.path}: {error.strerror}") from error
        finally:
            self._tell(name, dropped)
        return taken

    def advance(self, name: str, position: int) -> None:
        """Note that a reader needs nothing before `position` any more."""
        with self._changed:
            self._positions[name] = max(self._positions[name], position)
            self._trim()
            self._save(name)

    def newest(self, most_bytes: int) -> Iterator[Record]:
        """Return the whole records among the last bytes, oldest first."""
        start = next((base for base in self._segments if self.end - base <= most_bytes), self.end)
        for _, found in self._walk(start, self.end):
            if isinstance(found, Record):
                yield found

    def wait(self, position: int, timeout_s: float) -> None:
        """Wait until there is something after `position`, or `stop_waiting`."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or self._next > position, timeout_s)

    def stop_waiting(self) -> None:
        """Let those who wait go."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def behind_bytes(self, name: str) -> int:
        """Return how much a reader has yet to read."""
        return self.end - self._positions[name]

    def position(self, name: str) -> int:
        """Return what a reader reads next."""
        return self._positions[name]

    @property
    def end(self) -> int:
        """The position after the last record."""
        with self._changed:
            return self._next

    def close(self) -> None:
        """Write the cursors."""
        with self._changed:
            for name in self._positions:
                self._save(name, now=True)
            self._abandon(keep=True)

    def _find(self) -> None:
        """Look at what an earlier process left."""
        for path in sorted(self.path.glob("[0-9]*.spool")):
            if not path.stem.isdecimal():
                continue  # somebody's copy
            try:
                with path.open("rb") as file:
                    found = version(file.read(len(HEAD)))
                size = path.stat().st_size
            except OSError as error:
                raise SpoolError(f"{path}: cannot be read ({error.strerror})") from error
            if found > VERSION:
                raise SpoolError(f"{path}: is of format {found}, this version knows {VERSION}")
            self._segments[int(path.stem)] = size
        # Also when all segments are gone, new ones come after what the cursors have passed.
        cursors = filter(None, map(_cursor, self.path.glob("*.cursor")))
        self._next = max([*cursors, *(base + size for base, size in self._segments.items())], default=0)
        self._gauge()

    def _last_ns(self) -> int | None:
        """Return the spool's own time of the last whole record, None without one."""
        for base, size in reversed(self._segments.items()):
            try:
                found = [one.appended_ns for _, one in self._walk(base, base + size) if isinstance(one, Record)]
            except OSError:  # it is told, and tried again, when a store's turn comes to read it
                continue
            if found:
                return found[-1]
        return None

    def _now_ns(self) -> int:
        return time.monotonic_ns() + self._clock_ahead_ns

    def _make_room(self, more: int) -> None:
        while sum(self._segments.values()) + more > self._max_bytes:
            if len(self._segments) < 2 or not self._give_up_oldest("bytes"):
                raise SpoolError(f"{self.path}: is full ({self._max_bytes} bytes)")

    def _give_up_oldest(self, why: str) -> bool:
        """Drop the oldest segment if no required reader lacks any of it; return whether that was so.

        The last one only while it is not open.
        """
        if not self._segments:
            return False
        after = [*self._segments, self._next][1]
        if any(self._positions[name] < after for name in self._required):
            return False
        for name, position in self._positions.items():
            if position < after:
                self._count_dropped(name, position, after, why)
                self._positions[name] = after
        self._trim()
        return True

    def _count_dropped(self, name: str, start: int, end: int, why: str) -> None:
        try:
            points = sum(found.points for _, found in self._walk(start, end) if isinstance(found, Record))
        except OSError:
            points = 1
        self._tell(name, {why: points})

    def _write(self, record: bytes) -> None:
        if self._file is not None and self._next - self._base + len(record) > self._segment_bytes:
            self._abandon(keep=True)
        if self._file is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._base = self._next
            self._file = os.open(self._segment(self._base), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._segments[self._base] = 0
            record = HEAD + record
            _sync_folder(self.path)
        base, written = self._base, 0
        while written < len(record):
            written += os.pwrite(self._file, record[written:], self._segments[base] + written)
        crash_at("spool.written")
        os.fsync(self._file)
        crash_at("spool.synced")
        self._segments[base] += len(record)
        self._next = base + self._segments[base]
        self._gauge()

    def _abandon(self, keep: bool = False) -> None:
        """Write to this segment no more.

        Unless `keep`, cut off what a failed write left; where that fails, too, readers pass over it.
        """
        if self._file is None:
            return
        last = self._base
        try:
            if not keep:
                os.ftruncate(self._file, self._segments[last])
        except OSError:
            self._segments[last] = os.fstat(self._file).st_size
            self._next = last + self._segments[last]
        finally:
            os.close(self._file)
            self._file = None
        if not self._segments[last]:
            del self._segments[last]
            self._unlink(last)

    def _trim(self) -> None:
        """Delete the segments that every reader has passed."""
        needed = min(self._positions.values(), default=0)
        for base, size in list(self._segments.items()):
            if base + size > needed:
                break
            if self._file is not None and base == self._base:
                if size < min(self._segment_bytes, _WORTH_DELETING_BYTES):
                    break  # it is written to
                self._abandon(keep=True)
            del self._segments[base]
            self._unlink(base)
            crash_at("spool.trimmed")
        self._gauge()

    def _walk(self, start: int, end: int) -> Iterator[tuple[int, Record | str]]:
        """Return (position after it, record) from `start` on; instead of a record "torn" or "damaged"."""
        for base, size in list(self._segments.items()):
            if start < base + size and base < end:
                yield from records(self._segment(base), base, start, min(base + size, end))

    def _too_old(self, record: Record) -> bool:
        return _LEAST_NS <= record.appended_ns < self._now_ns() - self._max_age_ns

    def _tell(self, name: str, dropped: Mapping[str, int]) -> None:
        for why, points in dropped.items():
            metrics.SPOOL_DROPPED.labels(name, why).inc(points)
            self._log.error("dropped from the spool", store=name, reason=why, points=points)

    def _save(self, name: str, now: bool = False) -> None:
        """Write a reader's cursor; at most once a second, because losing it costs only time."""
        position, (saved, saved_s) = self._positions[name], self._saved.get(name, (-1, -_CURSOR_EVERY_S))
        if position == saved or (not now and time.monotonic() - saved_s < _CURSOR_EVERY_S):
            return
        path = self.path / f"{name}.cursor"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".new").write_text(_cursor_text(str(position)), encoding="ascii")
            crash_at("spool.saving")
            path.with_suffix(".new").replace(path)
            self._saved[name] = (position, time.monotonic())
        except OSError as error:
            self._log.debug("a cursor cannot be written", error=str(error))

    def _unlink(self, base: int) -> None:
        try:
            self._segment(base).unlink(missing_ok=True)
        except OSError as error:
            self._log.warning("a segment cannot be deleted", error=str(error))

    def _segment(self, base: int) -> Path:
        return self.path / f"{base:020}.spool"

    def _gauge(self) -> None:
        metrics.SPOOL_BYTES.set(sum(self._segments.values()))


def _cursor(path: Path) -> int | None:
    """Return what a cursor's file says, None when it is not what was written: one too far would skip what waits."""
    try:
        text = path.read_text(encoding="ascii")
        position = text.split()[0]
        # Earlier versions wrote the position alone.
        return max(0, int(position)) if text in (_cursor_text(position), f"{position}\n") else None
    except (OSError, ValueError, IndexError):
        return None


def _cursor_text(position: str) -> str:
    return f"{position} {zlib.crc32(position.encode()):08x}\n"


def _sync_folder(path: Path) -> None:
    """Make a new file's name survive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

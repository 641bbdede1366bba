"""A store that takes what is in the spool, at its own pace, in a thread of its own.

The main store has one for what it could not take at once; every second store
has one for everything. What one of them refuses, or how long it takes, is
nobody else's business.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from listener import metrics
from listener.backoff import Backoff
from listener.batch import Batch, joined
from listener.dead import DeadLetters
from listener.refused import refused
from listener.spool import Spool, SpoolError
from listener.spool_record import decode
from listener.spool_segment import Record
from service import logs
from service.failpoints import crash_at
from store import Point, StoreError

__all__ = ["MAIN", "Follower", "Sink"]

MAIN = "main"

_IDLE_S = 1.0
_BUSY_S = 0.02


class Sink(Protocol):
    """What takes points; a `Store` is one."""

    def write(self, points: Sequence[Point]) -> None:
        """See `Store.write`."""

    def close(self) -> None:
        """Let go of files and connections."""


class Follower:
    """Moves the spool's records into one store.

    Args:
        name: the store's, for the cursor, metrics and logs.
        batch_max_points: most points in one write; half of it after each one that fails, until they pass.
        points_per_s: at most so many, so that a backlog leaves the store room for what is live; 0: no bound.
        pause_s: after a write that was not full, wait for more so long.
        before: called when the store is asked for the first time, and again until it returns without StoreError.
        wanted: takes out the points that are stored already.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        spool: Spool,
        dead: DeadLetters,
        *,
        batch_max_points: int,
        points_per_s: float = 0,
        pause_s: float = 0,
        before: Callable[[], None] = lambda: None,
        wanted: Callable[[Batch, int], Batch] = lambda batch, _position: batch,
    ) -> None:
        self.name = name
        self.sink = sink
        self._spool = spool
        self._dead = dead
        self._batch_max_points = batch_max_points
        self._most_points = batch_max_points  # in one write, of late: less for a store that is too slow for so many
        self._points_per_s = points_per_s
        self._pause_s = pause_s
        self._before = before
        self._prepared = False
        self._wanted = wanted
        self._problem: str | None = "not asked yet"
        self._asked_s = 0.0
        self._left: int | None = None  # from there on the spool is somebody else's, for now
        self._passed: list[tuple[int, int]] = []  # parts of the spool that this store has already, in order
        self._passing = threading.Lock()  # of those: `has` is called on another thread
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"store {name}", daemon=True)
        self._log = logs.get("store")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no other write."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end; a write that is under way may take `timeout_s`."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def problem(self) -> str | None:
        """Say why the store takes nothing, None when it does."""
        return self._problem

    @property
    def asked_s(self) -> float:
        """How many seconds the store asked to wait when it failed last."""
        return self._asked_s

    def write(self, batch: Batch, position: int) -> None:
        """Write a batch, and keep as dead letters what the store refuses for good.

        Args:
            position: where in the spool it is.

        Raises:
            StoreError: transient; it is to be written again.
        """
        try:
            batch = self._wanted(batch, position)
            bad = refused(self._write, batch.points)
            crash_at("store.written")
            self._dead.add_points(self.name, [(batch.points[i], batch.origin(i), str(why)) for i, why in bad])
        except StoreError as error:
            self.failed(error)
            raise
        self._works()

    def leave(self, position: int | None) -> None:
        """Leave the spool from `position` on to the caller, who writes it; None: no longer."""
        self._left = position

    def has(self, start: int, end: int) -> None:
        """Note that the store has this part of the spool already; what it lacks nothing of may be deleted at once."""
        with self._passing:
            if self._passed and self._passed[-1][1] == start:
                start = self._passed.pop()[0]
            self._passed.append((start, end))
        self._skip()

    def prepare(self) -> None:
        """Ask the store for the first time.

        Raises:
            StoreError: it does not answer.
        """
        try:
            self._before()
        except StoreError as error:
            self.failed(error)
            raise
        self._prepared = True
        self._works()

    def failed(self, error: StoreError) -> None:
        """Note that the store did not do what it was asked."""
        if self._problem in (None, "not asked yet"):
            self._log.error("store fails, its points wait in the spool", store=self.name, error=str(error))
        self._problem, self._asked_s = str(error), error.retry_after_s
        metrics.STORE_UP.labels(self.name).set(0)

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            wait_s = 0.0
            metrics.SPOOL_BEHIND.labels(self.name).set(self._spool.behind_bytes(self.name))
            try:
                if not self._prepared:
                    self.prepare()
                wait_s = self._step()
                backoff.reset()
            except (StoreError, SpoolError) as error:
                if isinstance(error, StoreError):
                    self._most_points = max(1, self._most_points // 2)
                wait_s = backoff.next_s(getattr(error, "retry_after_s", 0))
            except Exception:  # noqa: BLE001
                # A bug that a record shows: it stays where it is, and is tried again.
                self._log.exception("store's thread failed", store=self.name)
                wait_s = backoff.next_s(1)
            self._stopping.wait(wait_s)

    def _step(self) -> float:
        """Move what is next, if anything; return how many seconds to wait then."""
        # In this order: `leave` comes before the record that it is about, and `has` before `leave(None)`.
        end, left = self._spool.end, self._left
        position = self._skip()
        if left is not None and position >= left:
            return _BUSY_S
        records = self._spool.read(self.name, self._most_points, end if left is None else left)
        if not records:
            self._spool.wait(position, _IDLE_S)
            return 0
        start_s = time.monotonic()
        batch = joined([self._decoded(record) for record in records])
        for part in self._parts(batch):
            self.write(part, position)
        crash_at("follower.stored")
        self._spool.advance(self.name, records[-1].end)
        metrics.SPOOL_BEHIND.labels(self.name).set(self._spool.behind_bytes(self.name))
        # Only now: with parts that grow while a record is written a slow store would never get to its end.
        self._most_points = min(self._batch_max_points, self._most_points * 2)
        if len(batch.points) * 2 < self._batch_max_points and not self._spool.behind_bytes(self.name):
            return self._pause_s
        took_s = time.monotonic() - start_s
        return max(0.0, len(batch.points) / self._points_per_s - took_s) if self._points_per_s else 0

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """Yield a batch in parts that the store takes in its time."""
        most, count = self._most_points, len(batch.points)
        if count <= most:
            yield batch
            return
        for start in range(0, count, most):
            yield batch.only(range(start, min(start + most, count)))

    def _skip(self) -> int:
        """Pass over what the store has already; return the position of what is next."""
        with self._passing:
            position = self._spool.position(self.name)
            while self._passed and self._passed[0][0] <= position:
                position = max(position, self._passed.pop(0)[1])
                self._spool.advance(self.name, position)
            return position

    def _decoded(self, record: Record) -> Batch:
        try:
            return decode(record.body)
        except ValueError as error:
            metrics.SPOOL_DROPPED.labels(self.name, "damaged").inc(record.points)
            self._log.error("dropped from the spool", store=self.name, reason=str(error), points=record.points)
            return Batch([])

    def _write(self, points: Sequence[Point]) -> None:
        if self.name != MAIN:
            self.sink.write(points)
            metrics.SECOND_POINTS.labels(self.name).inc(len(points))
            return
        start_s = time.perf_counter()
        try:
            self.sink.write(points)
        except StoreError as error:
            metrics.WRITES.labels("permanent" if error.permanent else "transient").inc()
            raise
        metrics.WRITES.labels("stored").inc()
        metrics.WRITE_SECONDS.observe(time.perf_counter() - start_s)
        for measurement, count in Counter([point.measurement for point in points]).items():
            metrics.POINTS.labels(measurement).inc(count)

    def _works(self) -> None:
        if self._problem not in (None, "not asked yet"):
            self._log.info("store works again", store=self.name)
        self._problem, self._asked_s = None, 0.0
        metrics.STORE_UP.labels(self.name).set(1)

"""The writer: one thread that turns queued messages into stored points and acknowledges them.

It writes again as soon as the last write returned, so batches grow with the
load by themselves and a lone reading does not wait. A message is acknowledged
when its points are in the store or in the dead-letter file, never before.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from listener import metrics
from listener.assemble import Assembler
from listener.dead import DeadLetters
from listener.decode import Decoder
from listener.queue import Queue, Received
from listener.translate import Translator
from service import logs
from store import Point, Store, StoreError

__all__ = ["Writer"]

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_LONGEST_ASKED_DELAY_S = 60.0  # by the store's Retry-After


class _Stopped(Exception):  # noqa: N818  (not an error)
    """The listener ends while the store refuses: the broker keeps what is not acknowledged."""


class Writer:
    """Moves messages from the queue to the store.

    Args:
        ack: acknowledges messages to the broker.
        batch_max_points: most points in one write, but for the last message's.
        dedup_window: sample numbers per start of a device that are recognised.
    """

    def __init__(
        self,
        queue: Queue,
        decoder: Decoder,
        store: Store,
        dead_letters: DeadLetters,
        ack: Callable[[Iterable[Received]], None],
        *,
        batch_max_points: int,
        dedup_window: int,
    ) -> None:
        self._queue = queue
        self._store = store
        self._dead_letters = dead_letters
        self._ack = ack
        self._batch_max_points = batch_max_points
        self._dedup_window = dedup_window
        self._assembler = Assembler(dedup_window)
        self._translator = Translator(decoder, self._assembler)
        self._stopping = threading.Event()
        self._problem: str | None = "not asked yet"
        self._log = logs.get("listener")

    def run(self) -> None:
        """Work until the queue is closed and empty, or until `stop` while the store refuses."""
        try:
            self._patiently(self._preload)
            while batch := self._queue.take(self._batch_max_points):
                self._work(batch)
        except _Stopped:
            self._log.warning("stopped with unstored messages, the broker keeps them", store=self._problem)

    def stop(self) -> None:
        """Do not wait any longer for a store that refuses."""
        self._stopping.set()

    def problem(self) -> str | None:
        """Say why the store does not take points, None when it does; a check for `Health`."""
        return self._problem

    def _preload(self) -> None:
        self._assembler.preload(self._store.identities(self._dedup_window))

    def _work(self, batch: Sequence[Received]) -> None:
        points: list[Point] = []
        waiting: list[Received] = []
        for received in batch:
            points += self._translator.points([received])
            waiting.append(received)
            if len(points) >= self._batch_max_points:
                self._finish(points, waiting)
                points, waiting = [], []
        self._finish(points, waiting)

    def _finish(self, points: Sequence[Point], waiting: Sequence[Received]) -> None:
        """Store the points and acknowledge their messages.

        1. Write the part at hand; wait and try again while the store fails for now.
        2. When it refuses the part for good, go on with its halves.
        3. A single point that is refused goes to the dead-letter file.
        """
        parts = [points] if points else []  # the next one last
        dead, why = 0, ""
        while parts:
            part = parts.pop()
            refused = self._patiently(partial(self._write, part))
            if refused is None:
                continue
            if len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            else:
                why = str(refused)
                self._patiently(partial(self._dead_letters.add, part[0], why))
                dead += 1
        if dead:
            metrics.DEAD_LETTERS.inc(dead)
            self._log.error("points refused by the store are dead letters", points=dead, last_reason=why)
        self._ack(waiting)

    def _write(self, points: Sequence[Point]) -> None:
        start_s = time.perf_counter()
        try:
            self._store.write(points)
        except StoreError as error:
            metrics.WRITES.labels("permanent" if error.permanent else "transient").inc()
            raise
        metrics.WRITES.labels("stored").inc()
        metrics.WRITE_SECONDS.observe(time.perf_counter() - start_s)
        for point in points:
            metrics.POINTS.labels(point.measurement).inc()

    def _patiently(self, operation: Callable[[], None]) -> StoreError | None:
        """Do it, again and again while the store fails for now; return the error when it refuses for good.

        Raises:
            _Stopped: `stop` was called and it still fails.
        """
        failures = 0
        while True:
            try:
                operation()
            except StoreError as error:
                if error.permanent:
                    self._problem = None  # it answers, and takes other points
                    return error
                self._problem = str(error)
                if failures == 0:
                    self._log.error("store fails, messages are held", error=self._problem)
                ceiling_s = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2**failures)
                failures += 1
                asked_s = min(error.retry_after_s, _LONGEST_ASKED_DELAY_S)
                delay_s = max(random.uniform(ceiling_s / 2, ceiling_s), asked_s)  # noqa: S311
                if self._stopping.wait(delay_s):
                    raise _Stopped from error
            else:
                if failures:
                    self._log.info("store works again", failures=failures)
                self._problem = None
                return None

"""The delivery half of the listener: a batch is safe when `deliver` returns, and only then acknowledged.

1. The main store works: the batch is written to it at once, also while older batches still wait in the spool (a
   point's place is its time, so order does not matter).
2. It fails for now: the batch goes to the spool (one fsync a batch) and is safe; a thread (`Follower`) writes the
   spool to the store, oldest first, at a bounded rate, for as long as that takes.
3. The spool, too, takes nothing (full, disk full, read-only): the batch is held and both are tried again. Nothing is
   acknowledged meanwhile, the queue fills, the broker is not read and keeps the rest. Health and a metric say so.

With second stores every batch goes to the spool first, where each has its own place; the main store need not wait for
them. When the spool takes nothing they miss points, which is counted; the main store misses none.
"""

import threading
from collections.abc import Iterator, Mapping

from listener import metrics
from listener.backoff import Backoff
from listener.batch import Batch
from listener.dead import DeadLetters
from listener.doubts import Doubts, identities
from listener.follower import MAIN, Follower, Sink
from listener.identity import Identity
from listener.spool import Spool, SpoolError
from listener.spool_record import decode, encode
from service import logs
from store import Point, Store, StoreError
from store.lines import line

__all__ = ["Delivery", "Stopped"]

# Of these the broker may not have heard yet that they are safe. It lets at most 65,535 messages wait for that.
_NEWEST_BYTES = 16 << 20
_LAST_WRITE_S = 15.0  # an HTTP write may take 10 s to fail


class Stopped(Exception):  # noqa: N818  (not an error)
    """The listener ends while neither store nor spool takes anything: the broker keeps what is not acknowledged."""


class Delivery:
    """Moves batches into the main store and the second ones.

    Args:
        store: the main store.
        second: name -> sink, and how long to gather points for it, seconds.
        batch_max_points: most points in one write.
        replay_points_per_s: how fast the spool goes to the main store, at most.
    """

    def __init__(
        self,
        store: Store,
        spool: Spool,
        dead: DeadLetters,
        second: Mapping[str, tuple[Sink, float]],
        *,
        batch_max_points: int,
        replay_points_per_s: float,
    ) -> None:
        self._store = store
        self._spool = spool
        self._dead = dead
        self._begun = False
        self._stopping = threading.Event()
        self._held: str | None = None
        self._spool_problem: str | None = None
        self._log = logs.get("delivery")
        self._doubts = Doubts(store, spool, MAIN)
        self._main = Follower(
            MAIN,
            store,
            spool,
            dead,
            batch_max_points=batch_max_points,
            points_per_s=replay_points_per_s,
            before=self._ask,
            wanted=self._doubts.unstored,
        )
        self._second = [
            Follower(name, sink, spool, dead, batch_max_points=batch_max_points, pause_s=pause_s)
            for name, (sink, pause_s) in second.items()
        ]
        spool.add_reader(MAIN, required=True, from_start=True)
        for name in second:
            spool.add_reader(name, required=False, from_start=False)

    def start(self) -> None:
        """Ask the store once, then begin to move what the spool holds; called on the thread of `news` and `deliver`."""
        try:
            self._main.prepare()
        except StoreError:
            pass  # its thread goes on asking
        for follower in (self._main, *self._second):
            follower.start()

    def news(self) -> Iterator[Identity]:
        """Return the samples that whoever assembles the next batch must know, to recognise them when they come again.

        Those in the spool at the first call, those in the store as soon as it has answered; otherwise none.
        """
        if not self._begun:
            self._begun = True
            for record in self._spool.newest(_NEWEST_BYTES):
                try:
                    yield from identities(decode(record.body).points)
                except ValueError:
                    continue  # counted when it is read for a store
        if not self._doubts.told and self._main.problem() is None:
            try:
                yield from self._doubts.tell()
            except StoreError as error:
                self._main.failed(error)

    def deliver(self, batch: Batch) -> None:
        """Return when the batch is safe; called on one thread.

        Raises:
            Stopped: `stop` was called, and it is not.
        """
        if not batch.points:
            return
        self._main.leave(self._spool.end)
        try:
            self._make_safe(batch)
        finally:
            self._main.leave(None)

    def stop(self) -> None:
        """Do not wait any longer when neither store nor spool takes anything."""
        self._stopping.set()

    def close(self) -> None:
        """End the threads, after `deliver` was called for the last time."""
        self.stop()
        followers = (self._main, *self._second)
        for follower in followers:
            follower.stop()
        self._spool.stop_waiting()
        for follower in followers:
            follower.join(_LAST_WRITE_S)
        self._spool.close()
        for follower in self._second:
            follower.sink.close()

    def problem(self) -> str | None:
        """Say why the main store does not take points, None when it does; a check for `Health`."""
        return self._main.problem()

    def held(self) -> str | None:
        """Say why nothing is acknowledged, None when all is; a check for `Health`."""
        return self._held

    def _make_safe(self, batch: Batch) -> None:
        spooled = self._spooled(batch) if self._second else None
        backoff = Backoff()
        while not (self._written(batch, spooled) or spooled or (spooled := self._spooled(batch))):
            self._hold()
            if self._stopping.wait(backoff.next_s(self._main.asked_s)):
                raise Stopped
        if spooled is None:
            for follower in self._second:
                metrics.SPOOL_DROPPED.labels(follower.name, "unwritable").inc(len(batch.points))
        self._release()

    def _written(self, batch: Batch, spooled: tuple[int, int] | None) -> bool:
        """Write to the main store, if that is likely to work, or all that is left."""
        if self._main.problem() is not None and not self._held:
            return False
        try:
            self._main.write(batch, self._spool.end)
        except StoreError:
            return False
        if spooled:
            self._main.has(*spooled)
        return True

    def _spooled(self, batch: Batch) -> tuple[int, int] | None:
        """Write to the spool and return from where to where, None when that fails."""
        try:
            try:
                body = encode(batch)
            except ValueError:
                batch = self._storable(batch)
                body = encode(batch)
            start = self._spool.end
            end = self._spool.append(body, len(batch.points))
        except (SpoolError, StoreError) as error:
            if self._spool_problem is None:
                self._log.error("the spool takes nothing", error=str(error))
            self._spool_problem = str(error)
            return None
        self._spool_problem = None
        metrics.SPOOLED.inc(len(batch.points))
        return start, end

    def _storable(self, batch: Batch) -> Batch:
        """Return the batch without the points that no store would take; they are dead letters then.

        Raises:
            StoreError: transient; they could not be kept.
        """
        bad: dict[int, str] = {}
        for index, point in enumerate(batch.points):
            try:
                line(point)
            except StoreError as error:
                bad[index] = str(error)
        self._dead.add_points("spool", [(batch.points[i], batch.origin(i), why) for i, why in bad.items()])
        kept = batch.only([index for index in range(len(batch.points)) if index not in bad])
        plain = [Point(one.measurement, one.tags, _plain(one.fields), one.ts_ns) for one in kept.points]
        return Batch(plain, kept.starts, kept.messages)

    def _hold(self) -> None:
        if self._held is None:
            self._log.error("nothing is acknowledged: neither store nor spool takes points")
            metrics.HELD.set(1)
        self._held = f"nothing is acknowledged: {self._spool_problem}; {self._main.problem()}"

    def _release(self) -> None:
        if self._held is not None:
            self._log.info("acknowledges again")
            self._held = None
            metrics.HELD.set(0)

    def _ask(self) -> None:
        """Ask the store anything.

        Raises:
            StoreError: it does not answer.
        """
        self._store.devices()


def _plain(fields: Mapping[str, float | str]) -> dict[str, float | str]:
    return {name: value if isinstance(value, str) else float(value) for name, value in fields.items()}

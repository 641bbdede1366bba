"""Points in the spool that the store may have already, though nobody could ask it when they came.

A listener stores samples and is killed before the broker has heard of it; the broker brings them again to its next
life, which has to put them into the spool, with a time of receipt of their own: the store does not answer. When it
does, those that it has are left out. Which these are is asked

1. once in a life, before anything of it is written: then what the broker brought again is still among the newest
   samples of its device;
2. and kept on disk (`known` in the spool's folder) until the spool has been stored: the next life would ask after
   thousands of later ones were stored, and not hear of them any more.
"""

import contextlib
import os
import threading
import zlib
from collections.abc import Iterable, Iterator

import msgspec

from listener.batch import Batch
from listener.identity import Identities, Identity, Piece, asked_per_device, together
from listener.spool import Spool
from service import logs
from service.failpoints import crash_at
from store import Point, Store
from store.points import BOOKKEEPING, READINGS

__all__ = ["Doubts", "identities", "identity_of"]

_FILE = "known"
_DECODER = msgspec.msgpack.Decoder(list[tuple[Piece, bytes]])


class Doubts:
    """Takes out of batches what the store has; used by the thread that assembles them and the one of the main store.

    Args:
        spool: its folder keeps what was asked.
        reader: of the spool, for the main store.
    """

    def __init__(self, store: Store, spool: Spool, reader: str) -> None:
        self._store = store
        self._spool = spool
        self._reader = reader
        self._path = spool.path / _FILE
        self._asking = threading.Lock()
        self._asked = self._kept = False  # in this life
        self._told_at: int | None = None  # from there on batches in the spool were assembled with that knowledge
        self._known = self._read()
        self._log = logs.get("delivery")

    def tell(self) -> Iterable[Identity]:
        """Return the samples that the store has; all batches that come from now on were assembled with them.

        Raises:
            StoreError: it does not say what it has.
        """
        known = self._ask()
        self._told_at = self._spool.end
        return known

    @property
    def told(self) -> bool:
        """Whether `tell` has told."""
        return self._told_at is not None

    def unstored(self, batch: Batch, position: int) -> Batch:
        """Return the batch without the samples that the store has.

        Args:
            position: where in the spool it is.

        Raises:
            StoreError: the store does not say what it has.
        """
        if self._told_at is not None and position >= self._told_at:
            if self._known is not None and self._spool.position(self._reader) >= self._told_at:
                self._forget()
            return batch
        known = self._ask()
        found = [identity_of(point) for point in batch.points]
        kept = [i for i, one in enumerate(found) if one is None or not known.known(*one)]
        return batch if len(kept) == len(found) else batch.only(kept)

    def _ask(self) -> Identities:
        with self._asking:
            known = self._known if self._known is not None else Identities()
            if not self._asked:
                most = asked_per_device(len(self._store.devices()))
                for device, boot, n, sensors in self._store.identities(most):
                    known.first_time(device, boot, n, together(sensors))
                self._known, self._asked = known, True
            if not self._kept and self._spool.position(self._reader) < self._spool.end:
                self._kept = True
                self._keep(known)
            return known

    def _keep(self, known: Identities) -> None:
        try:
            with self._path.with_suffix(".new").open("wb") as file:
                body = msgspec.msgpack.encode(known.pieces())
                file.write(zlib.crc32(body).to_bytes(4) + body)
                file.flush()
                os.fsync(file.fileno())
            crash_at("doubts.keeping")
            self._path.with_suffix(".new").replace(self._path)
        except OSError as error:
            self._log.warning("what the store has is not kept: killed now, it may get samples twice", error=str(error))

    def _read(self) -> Identities | None:
        try:
            data = self._path.read_bytes()
            # A bit that has changed on the disk would be a sample that is taken for stored, and lost.
            whole = data[:4] == zlib.crc32(data[4:]).to_bytes(4)
            return Identities.of(_DECODER.decode(data[4:])) if whole else None
        except (OSError, msgspec.DecodeError):  # as a rule there is none
            return None

    def _forget(self) -> None:
        with self._asking:
            self._known = None
            with contextlib.suppress(OSError):  # read next time, it is true then, too
                self._path.unlink(missing_ok=True)


def identities(points: Iterable[Point]) -> Iterator[Identity]:
    """Return the identities of the samples among the points."""
    return filter(None, map(identity_of, points))


def identity_of(point: Point) -> Identity | None:
    """Return the identity of a reading's point, None for others."""
    n, boot = point.fields.get("n"), point.fields.get("boot")
    if point.measurement != READINGS or n is None or not boot:
        return None
    sensors = together(point.fields.keys() - set(BOOKKEEPING))
    return dict(point.tags)["device"], str(boot), int(n), sensors

"""Replays: which signatures were used, until nobody could use them any more, also over a restart.

A file of fixed records beside the claims database: appended without waiting
for the disk, so a killed process forgets nothing; a power cut may, and what
could be replayed then is at most 5 minutes old.
"""

import struct
import threading
from io import FileIO
from pathlib import Path

from service import logs

__all__ = ["Full", "Replays"]

_RECORD = struct.Struct(">32sd")  # signature, until (seconds since 1970)
_MOST = 200_000  # 25 MB; 660 signed requests a second for 5 minutes
_SWEEP_S = 60.0


class Full(Exception):  # noqa: N818  (a state, not a fault)
    """No further signature can be remembered now."""


class Replays:
    """Remembers signatures.

    Args:
        path: of the file; made when it is not there.
        now_s: seconds since 1970.
        most: signatures that are remembered at a time.

    Raises:
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path, now_s: float, most: int = _MOST) -> None:
        self._path = path
        self._most = most
        self._lock = threading.Lock()
        self._log = logs.get("access")
        known = path.read_bytes() if path.exists() else b""
        whole = len(known) - len(known) % _RECORD.size  # a torn record at the end was never answered 200
        self._until_s: dict[bytes, float] = dict(_RECORD.iter_unpack(known[:whole]))
        self._file: FileIO | None = None
        self._sweep(now_s)

    def first_use(self, signature: bytes, until_s: float, now_s: float) -> bool:
        """Tell whether a signature has not been used before, and remember it.

        Args:
            signature: 32 bytes.
            until_s: after that it is refused for its age, seconds since 1970.

        Raises:
            Full: there is no room; nothing was remembered.
        """
        with self._lock:
            if signature in self._until_s:
                return False
            if now_s >= self._next_sweep_s or len(self._until_s) >= self._most:
                try:
                    self._sweep(now_s)
                except OSError as error:  # as below
                    self._log.error("used signatures are not forgotten in their file", error=str(error))
            if len(self._until_s) >= self._most:
                raise Full
            self._until_s[signature] = until_s
            try:
                self._append(_RECORD.pack(signature, until_s))
            except OSError as error:  # a full disk must not stop an alert that switches a pump off
                self._log.error("a used signature is remembered until a restart only", error=str(error))
            return True

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
            self._file = None

    def _append(self, record: bytes) -> None:
        """Write a record as a whole, or nothing: those that follow would be read from the middle of theirs."""
        if self._file is None:
            raise OSError("it is not open")
        written = self._file.write(record)
        if written != len(record):
            self._file.truncate(self._file.tell() - (written or 0))
            raise OSError(f"{written} of {len(record)} bytes fit")

    def _sweep(self, now_s: float) -> None:
        """Forget what is over, in memory and in the file."""
        self._next_sweep_s = now_s + _SWEEP_S
        self._until_s = {one: until_s for one, until_s in self._until_s.items() if until_s >= now_s}
        temporary = self._path.with_name(self._path.name + ".tmp")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        # The new file is open before the old one is closed: where no file can be opened any more (a thousand slow
        # callers), or the disk is full, the old one goes on.
        fresh = temporary.open("ab", buffering=0)
        try:
            known = b"".join(_RECORD.pack(*one) for one in self._until_s.items())
            if fresh.write(known) != len(known):
                raise OSError("no space left")
            temporary.replace(self._path)
        except OSError:
            fresh.close()
            raise
        self.close()
        self._file = fresh

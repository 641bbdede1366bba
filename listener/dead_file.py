"""The dead-letter file as several processes share it: the listener appends, `pinloop deadletter` takes out."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Letter", "locked", "older", "read", "remove"]


# Rewriting the largest files takes less; whoever was stopped in the middle (Ctrl-Z) must not hold up readings for ever.
_LOCKED_S, _AGAIN_S = 5.0, 0.01


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter of the file.

    Attributes:
        id: made from its text, so it stays the same.
        said: the JSON object.
    """

    id: str
    said: dict[str, Any]


def older(path: Path) -> Path:
    """Return the file that `path` became when it was full."""
    return path.with_name(path.name + ".1")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes and threads from changing the file meanwhile; it need not exist.

    Raises:
        OSError: its folder does not exist or cannot be written; another process does not let go of the files.
    """
    file = os.open(path.with_name(path.name + ".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        end_s = time.monotonic() + _LOCKED_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end_s:
                    raise OSError(errno.ETIMEDOUT, "another process holds it") from None
                time.sleep(_AGAIN_S)
        yield
    finally:
        os.close(file)


def read(path: Path) -> list[Letter]:
    """Return the letters, oldest first; lines that a crash tore are left out.

    Raises:
        OSError: a file cannot be read.
    """
    return [letter for one in (older(path), path) for _, letter in _lines(one) if letter is not None]


def remove(path: Path, ids: Collection[str]) -> int:
    """Take letters out of the files and return how many; each file is replaced whole, or not at all.

    Raises:
        OSError: a file cannot be written.
    """
    removed = 0
    with locked(path):
        for one in (older(path), path):
            found = list(_lines(one))
            kept = [text for text, letter in found if letter is None or letter.id not in ids]
            if len(kept) == len(found):
                continue
            new = one.with_name(one.name + ".new")
            with new.open("wb") as file:
                file.writelines(kept)
                file.flush()
                os.fsync(file.fileno())
            new.replace(one)
            removed += len(found) - len(kept)
    return removed


def _lines(path: Path) -> Iterator[tuple[bytes, Letter | None]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for text in file:
            try:
                said = json.loads(text)
            except ValueError:
                said = None
            name = hashlib.blake2b(text.rstrip(b"\n"), digest_size=4).hexdigest()
            yield text, Letter(name, said) if isinstance(said, dict) else None

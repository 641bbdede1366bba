"""Copies of databases as they are at one moment, while others write them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from pinloop.errors import PinloopError

__all__ = ["copy_database"]

_BUSY_S = 30.0


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database as of one moment into the new file `target`, and check the copy.

    One step of SQLite's online backup reads one snapshot: with a write-ahead log nobody waits for it. (Several smaller
    steps would begin anew with every commit of somebody else.)

    Raises:
        PinloopError: it cannot be read, or it is damaged.

    Source: sqlite.org/backup.html
    """
    try:
        uri = f"{source.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            said = str(new.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        raise PinloopError(
            f"'{source}' cannot be copied ({error})", "`pinloop doctor` says more about it; no backup was made."
        ) from None
    if said != "ok":
        raise PinloopError(f"'{source}' is damaged ({said})", "No backup was made; an earlier one may be whole.")

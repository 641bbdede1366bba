"""The store in one SQLite file: several processes may read while one writes.

A write is one transaction with `synchronous=FULL`: what was written survives
a power cut. The connection is opened when it is first needed and again after
trouble, so a disk that was full or away needs no restart.
"""

import contextlib
import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from store.errors import StoreError
from store.lines import line, tag_text
from store.points import BOOKKEEPING, READINGS, Point

__all__ = ["SqliteStore"]

_VERSION = 1
_BUSY_TIMEOUT_S = 5.0
_MOST_IDS = 20_000  # that are remembered

# One row a field, like InfluxDB: any measurement fits, and a point that comes again replaces itself.
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS series(
    id INTEGER PRIMARY KEY, measurement TEXT NOT NULL, tags TEXT NOT NULL, field TEXT NOT NULL, device TEXT NOT NULL,
    UNIQUE(measurement, tags, field));
CREATE INDEX IF NOT EXISTS series_device ON series(device, measurement);
CREATE TABLE IF NOT EXISTS samples(
    series INTEGER NOT NULL REFERENCES series, ts_ns INTEGER NOT NULL, value NOT NULL,
    PRIMARY KEY(series, ts_ns)) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
COMMIT;
"""

_Series = tuple[str, str, str]


class SqliteStore:
    """A store in the file `path`; the file and its folder are made when they are missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._ids: dict[_Series, int] = {}

    def write(self, points: Sequence[Point]) -> None:
        """See `Store`."""
        for point in points:
            line(point)  # refuses what InfluxDB would refuse: both stores take the same points
        with self._open() as connection, _transaction(connection):
            found = self._identify(connection, points)
            connection.executemany(
                "INSERT INTO samples VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (
                    (found[point.measurement, tag_text(point.tags), field], point.ts_ns, _plain(value))
                    for point in points
                    for field, value in point.fields.items()
                ),
            )
        if len(self._ids) > _MOST_IDS:
            self._ids.clear()
        self._ids.update(found)  # only now: ids of a transaction that was rolled back are free again

    def latest(self, device: str) -> dict[str, tuple[float, float]]:
        """See `Store`."""
        rows = self._query(
            "SELECT field, ts_ns, value FROM series JOIN samples ON series = id"
            " AND ts_ns = (SELECT max(ts_ns) FROM samples WHERE series = id) WHERE device = ? AND measurement = ?",
            (device, READINGS),
        )
        return {field: (value, ts_ns / 1e9) for field, ts_ns, value in rows if field not in BOOKKEEPING}

    def series(
        self, device: str, sensor: str, since_s: float, until_s: float, step_s: float
    ) -> list[tuple[float, float]]:
        """See `Store`."""
        step_ns = max(1, round(step_s * 1e9))
        return self._query(
            "SELECT ts_ns / :step * :step / 1e9, avg(value) FROM samples WHERE series ="
            " (SELECT id FROM series WHERE measurement = :measurement AND tags = :tags AND field = :field)"
            " AND ts_ns >= :since AND ts_ns < :until GROUP BY ts_ns / :step ORDER BY 1",
            {
                "step": step_ns,
                "measurement": READINGS,
                "tags": tag_text((("device", device),)),
                "field": sensor,
                "since": math.ceil(since_s * 1e9),
                "until": math.ceil(until_s * 1e9),
            },
        )

    def devices(self) -> list[str]:
        """See `Store`."""
        return [device for (device,) in self._query("SELECT DISTINCT device FROM series WHERE device <> '' ORDER BY 1")]

    def identities(self, most_per_device: int) -> Iterator[tuple[str, str, int, str]]:
        """See `Store`."""
        pairs = self._query(
            "SELECT n.device, n.id, b.id, measurement, tags FROM series n JOIN series b USING(measurement, tags)"
            " WHERE n.measurement = ? AND n.field = 'n' AND b.field = 'boot'",
            (READINGS,),
        )
        for device, n_series, boot_series, measurement, tags in pairs:
            rows = self._query(
                "SELECT b.value, n.value, (SELECT group_concat(field) FROM series JOIN samples s ON s.series = id"
                " AND s.ts_ns = n.ts_ns WHERE measurement = ? AND tags = ? AND field NOT IN ('n', 'boot'))"
                " FROM samples n JOIN samples b ON b.series = ? AND b.ts_ns = n.ts_ns"
                " WHERE n.series = ? ORDER BY n.ts_ns DESC LIMIT ?",
                (measurement, tags, boot_series, n_series, most_per_device),
            )
            for boot, n, sensors in rows:
                yield device, boot, int(n), ",".join(sorted((sensors or "").split(",")))

    def close(self) -> None:
        """See `Store`."""
        with self._lock:
            self._drop()

    def _query(self, sql: str, values: Any = ()) -> list[Any]:
        with self._open() as connection:
            return connection.execute(sql, values).fetchall()

    def _identify(self, connection: sqlite3.Connection, points: Sequence[Point]) -> dict[_Series, int]:
        """Return the ids of the points' series, making those that are new."""
        found: dict[_Series, int] = {}
        for point in points:
            tags = tag_text(point.tags)
            for field in point.fields:
                key = (point.measurement, tags, field)
                if key in found:
                    continue
                known = self._ids.get(key)
                if known is None:
                    device = dict(point.tags).get("device", "")
                    connection.execute(
                        "INSERT OR IGNORE INTO series(measurement, tags, field, device) VALUES(?, ?, ?, ?)",
                        (*key, device),
                    )
                    where = "SELECT id FROM series WHERE measurement = ? AND tags = ? AND field = ?"
                    known = connection.execute(where, key).fetchone()[0]
                found[key] = known
        return found

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread, and turn SQLite's errors into StoreError."""
        with self._lock:
            try:
                if self._connection is None or self._moved():
                    self._drop()
                    self._connection = self._connect()
                yield self._connection
            except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError) as error:
                raise StoreError(f"{self._path}: {error}", permanent=True) from error
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
                    self._drop()
                raise StoreError(f"{self._path}: {error}") from error
            except OSError as error:
                raise StoreError(f"{self._path}: {error.strerror}") from error

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, self._path)
        except BaseException:
            connection.close()
            raise
        self._inode = _inode(self._path)
        return connection

    def _drop(self) -> None:
        self._ids.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _moved(self) -> bool:
        """Tell whether the path is no longer the open file: writes to a deleted file succeed and are lost."""
        try:
            return _inode(self._path) != self._inode
        except FileNotFoundError:
            return True


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # Two processes that open a new file at once: the switch to WAL is refused at once, without the busy timeout.
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = FULL")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, _VERSION):
        raise StoreError(f"{path}: is of schema {found}, this version knows {_VERSION}")
    if found == 0:
        connection.executescript(_SCHEMA)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors (disk full) have ended it already
            connection.execute("ROLLBACK")
        raise


def _plain(value: float | str) -> float | str:
    return value if isinstance(value, str) else float(value)


def _inode(path: Path) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116  (one call a write; Path.stat is three times slower)
    return found.st_dev, found.st_ino

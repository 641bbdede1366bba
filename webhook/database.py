"""The claims database: one SQLite file with one writer.

Opening it takes a lock for the life of the process, sets it to survive a power
cut (WAL, `synchronous=FULL`) and brings its schema up to date. What stands in
it is the truth; retained messages are a cache of it.
"""

import fcntl
import math
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from service.errors import StartError

__all__ = ["Database", "is_busy"]

# How many keys a statement looks for at a time: few different statements, so that all stay prepared.
_AT_A_TIME = (1, 8, 64, 512)
_ROWS_AT_A_TIME = 24
# Rows that were changed since the journal was last brought in; each takes two to three pages of it.
_ROWS_WHEN_QUIET = 40
_ROWS_WHEN_BUSY = 1400
# Beyond so many pages (16 MB) a commit does it by itself after all: the journal must not fill the disk.
_MOST_JOURNAL_PAGES = 4096
# Somebody else may hold it for a moment; senders wait.
_BUSY_MS = 1000

# Migration n brings the schema from version n to n + 1 (`user_version`). Never edit one that was released: add one.
_MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    -- What was last heard of each alert, by fingerprint. labels, annotations, targets: JSON.
    CREATE TABLE alerts (
        fingerprint TEXT PRIMARY KEY, name TEXT NOT NULL, labels TEXT NOT NULL, annotations TEXT NOT NULL,
        starts_at REAL NOT NULL, status TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
        targets TEXT NOT NULL, seen_s REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX alerts_seen ON alerts (seen_s);

    -- Active claims. value is NULL for a wish for the safe value, until_s for a claim without an end.
    CREATE TABLE claims (
        device TEXT NOT NULL, pin TEXT NOT NULL, owner TEXT NOT NULL, value NUMERIC, slot TEXT NOT NULL,
        source TEXT NOT NULL, since_s REAL NOT NULL, until_s REAL,
        PRIMARY KEY (device, pin, owner)
    ) WITHOUT ROWID;
    CREATE INDEX claims_owner ON claims (owner);
    CREATE INDEX claims_until ON claims (until_s);

    -- The command that stands at each pin. value is NULL when the pin is released; changed_s is when the value became
    -- what it is, at_s when it was last sent, renew_s when it is to be sent again.
    CREATE TABLE commands (
        device TEXT NOT NULL, pin TEXT NOT NULL, value NUMERIC, slot TEXT NOT NULL, source TEXT NOT NULL,
        seq INTEGER NOT NULL, ttl_s INTEGER NOT NULL, changed_s REAL NOT NULL, at_s REAL NOT NULL, renew_s REAL,
        acked_s REAL,
        PRIMARY KEY (device, pin)
    ) WITHOUT ROWID;
    CREATE INDEX commands_renew ON commands (renew_s);

    -- Append-only: each change of what a pin should be, or of who says so.
    CREATE TABLE changes (
        id INTEGER PRIMARY KEY, at_s REAL NOT NULL, device TEXT NOT NULL, pin TEXT NOT NULL, value NUMERIC,
        slot TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL, seq INTEGER NOT NULL,
        acked_s REAL, reported_s REAL
    );
    CREATE INDEX changes_pin ON changes (device, pin, id);
    """,
    """
    -- Who told of the alert (`dialects.sender_of`), "" for a sender without a name.
    ALTER TABLE alerts ADD COLUMN sender TEXT NOT NULL DEFAULT '';

    -- Senders whose active alerts are read back, and where from.
    CREATE TABLE senders (sender TEXT PRIMARY KEY, read_at TEXT NOT NULL) WITHOUT ROWID;
    """,
    """
    -- What guards remember of the pins that have some: when their command last went between on and off, the wish that
    -- waits (held_by: the guard, "" for none), and when to look again.
    CREATE TABLE guards (
        device TEXT NOT NULL, pin TEXT NOT NULL, switched_s REAL, look_s REAL, held_by TEXT NOT NULL, held_until_s REAL,
        held_since_s REAL, held_value NUMERIC, held_slot TEXT NOT NULL, held_source TEXT NOT NULL,
        held_cause TEXT NOT NULL,
        PRIMARY KEY (device, pin)
    ) WITHOUT ROWID;
    CREATE INDEX guards_look ON guards (look_s);

    -- When those pins were switched on, within the last hour.
    CREATE TABLE starts (device TEXT NOT NULL, pin TEXT NOT NULL, at_s REAL NOT NULL);
    CREATE INDEX starts_pin ON starts (device, pin, at_s);

    -- dry_run: decided and not sent. held_by: the guard that held the change back, "" for a change that was made.
    ALTER TABLE commands ADD COLUMN dry_run INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE changes ADD COLUMN dry_run INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE changes ADD COLUMN held_by TEXT NOT NULL DEFAULT '';
    CREATE TRIGGER changes_stand BEFORE UPDATE OF
        at_s, device, pin, value, slot, source, reason, seq, dry_run, held_by ON changes
    BEGIN SELECT RAISE(ABORT, 'changes is append-only'); END;
    """,
    """
    -- Alerts that a source (`follower.Source.name`) has listed as active: only those can end by being absent there.
    CREATE TABLE listed (
        source TEXT NOT NULL, fingerprint TEXT NOT NULL, starts_at REAL NOT NULL,
        PRIMARY KEY (source, fingerprint)
    ) WITHOUT ROWID;

    -- Devices of other firmware as routes.yml declared them (JSON), kept until what was taken out of it is known to be
    -- off. gone_s: since when it is out of it, seconds since 1970; NULL while it is in it.
    CREATE TABLE declarations (
        device TEXT NOT NULL, declared TEXT NOT NULL, gone_s REAL,
        PRIMARY KEY (device, declared)
    ) WITHOUT ROWID;
    """,
    """
    -- The guards that a pin's own device declared last, and its safe value (JSON): known before it tells again.
    CREATE TABLE declared_limits (
        device TEXT NOT NULL, pin TEXT NOT NULL, declared TEXT NOT NULL,
        PRIMARY KEY (device, pin)
    ) WITHOUT ROWID;
    """,
)


def is_busy(error: Exception) -> bool:
    """Tell whether the database could not be written because another process is writing to it."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY


class Database:
    """The open database; every use of `connection` holds `lock`.

    Args:
        path: the file; its folder is created.

    Attributes:
        epoch: names this database in every command, random since its creation.

    Raises:
        StartError: another process has it open, it is not ours, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows_seen = self._rows_tidied = 0
        self._in_vain_s = -math.inf  # when somebody last gave up waiting for the file, by the clock that never jumps
        self.lock = threading.RLock()
        with ExitStack() as opened:
            try:
                path = path.resolve()  # the lock is beside the file itself, by whatever name it is opened
                path.parent.mkdir(parents=True, exist_ok=True)
                lock_file = opened.enter_context(path.with_name(path.name + ".lock").open("w"))
                try:
                    # Held until the process ends, however it ends.
                    fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise StartError(
                        f"another webhook is using {path}; stop it, or choose another --claims-path"
                    ) from None
                self.connection = sqlite3.connect(
                    path, isolation_level=None, check_same_thread=False, cached_statements=256
                )
                opened.callback(self.connection.close)
                self._tidier = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                opened.callback(self._tidier.close)
                self._prepare()
            except (OSError, sqlite3.Error) as error:
                raise StartError(f"cannot use {path} ({error}); choose another --claims-path") from None
            self._opened = opened.pop_all()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Hold the lock and commit at the end, or roll back when an exception leaves the block.

        Within another one it is a part of that.

        Args:
            durable: it survives a power cut. Otherwise the commit does not wait for the disk: it is lost when the power
                fails before the next durable one, and nothing else is.
        """
        with self.lock:
            if self.connection.in_transaction:
                yield self.connection
                return
            if not durable:
                with self._synchronous("NORMAL"), self.transaction() as connection:
                    yield connection
                return
            self._begin()
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def _begin(self) -> None:
        """Begin a transaction; after one has waited in vain for the file, the next ones do not wait for a while.

        They hold the lock meanwhile: of a dozen who wait one after the other the last would wait for all.
        """
        patient = time.monotonic() - self._in_vain_s > _BUSY_MS / 1000
        if not patient:
            self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if patient and is_busy(error):
                self._in_vain_s = time.monotonic()
            raise
        finally:
            if not patient:
                self.connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

    @contextmanager
    def _synchronous(self, level: str) -> Iterator[None]:
        """Have commits wait for the disk less often than FULL within the block."""
        before = self.connection.execute("PRAGMA synchronous").fetchone()[0]
        self.connection.execute(f"PRAGMA synchronous = {level}")
        try:
            yield
        finally:
            self.connection.execute(f"PRAGMA synchronous = {before}")

    def tidy(self) -> None:
        """Bring what is in the journal into the file now and then; commits go on meanwhile.

        SQLite would do it within every hundredth commit or so, which then waits three times as long for the disk.
        Called a few times a second, on one thread.
        """
        rows = self.connection.total_changes
        quiet, self._rows_seen = rows == self._rows_seen, rows
        if rows - self._rows_tidied >= (_ROWS_WHEN_QUIET if quiet else _ROWS_WHEN_BUSY):
            self._rows_tidied = rows
            with suppress(sqlite3.Error):  # nothing depends on it: what is wrong with the disk, the next commit says
                self._tidier.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def among(
        self, what: str, table: str, columns: Sequence[str], keys: Sequence[tuple[str, ...]]
    ) -> Iterator[sqlite3.Row]:
        """Yield the rows whose `columns` are one of `keys`, each key once; the caller holds the lock.

        Args:
            what: columns to select from `table`.
        """
        nobody = (None,) * len(columns)
        row = f"({', '.join('?' * len(columns))})"
        on = " AND ".join(f"{table}.{name} = keys.column{number}" for number, name in enumerate(columns, 1))
        at = 0
        while at < len(keys):
            part = keys[at : at + _AT_A_TIME[-1]]
            size = next(size for size in _AT_A_TIME if size >= len(part))
            values = [value for key in (*part, *[nobody] * (size - len(part))) for value in key]
            rows = ", ".join([row] * size)
            yield from self.connection.execute(
                f"SELECT {what} FROM (VALUES {rows}) AS keys CROSS JOIN {table} ON {on}",  # noqa: S608  (constants)
                values,
            )
            at += len(part)

    def write(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for many rows at a time; the caller holds a transaction.

        Each step of a statement hands the interpreter to another thread, so that eight requests at a time paid more
        for that than for SQLite.

        Args:
            statement: with {rows} in the place of "(?, ?), (?, ?), ...".
        """
        for at in range(0, len(rows), _ROWS_AT_A_TIME):
            part = rows[at : at + _ROWS_AT_A_TIME]
            row = f"({', '.join('?' * len(part[0]))})"
            sql = statement.replace("{rows}", ", ".join([row] * len(part)))
            self.connection.execute(sql, [value for one in part for value in one])

    def close(self) -> None:
        """Close it and let another process have it."""
        with self.lock:
            self._opened.close()

    def _prepare(self) -> None:
        connection = self.connection
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_MOST_JOURNAL_PAGES}")
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(_MIGRATIONS):
            raise StartError(f"{self.path} was written by a newer Pinloop (schema {version}); upgrade this one")
        for number in range(version, len(_MIGRATIONS)):
            connection.executescript(f"BEGIN;{_MIGRATIONS[number]};PRAGMA user_version = {number + 1};COMMIT;")
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (secrets.token_hex(4),))
        self.epoch = str(connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])

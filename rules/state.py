"""The state database: alerts survive a restart.

Committed before a notification is posted. A row stays after its
alert has ended, so that the next episode starts later than it, whatever the
wall clock says.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from rules.alerts import Alert
from rules.evaluate import FIRING
from service.errors import StartError

__all__ = ["State", "Stored"]

_SCHEMA = """
CREATE TABLE alerts (
    rule TEXT NOT NULL,
    device TEXT NOT NULL,
    status TEXT NOT NULL,
    starts_at_s REAL NOT NULL,
    ends_at_s REAL,
    reason TEXT NOT NULL,
    labels TEXT NOT NULL,
    annotations TEXT NOT NULL,
    delivered INTEGER NOT NULL,
    PRIMARY KEY (rule, device)
) WITHOUT ROWID
"""
_SCHEMA_VERSION = 1
# The webhook forgets an alert after a week without news of it; then an episode may start earlier than the last one.
_FORGET_S = 7 * 86400.0


class Stored(msgspec.Struct, frozen=True):
    """An alert of the database; `delivered`: the webhook has taken it as it stands."""

    alert: Alert
    delivered: bool


class State:
    """The database.

    Args:
        path: its file; the folder is made.
        wall_s: seconds since 1970; what ended long before is forgotten.

    Raises:
        StartError: the file cannot be used.
    """

    def __init__(self, path: Path, wall_s: float) -> None:
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            # Not FULL: a commit survives the death of this process, but a power cut may take the last ones. A lost
            # start is an alert that is not re-asserted: its claim ends by itself. A lost end is an episode that the
            # webhook calls stale: the runner begins another. This halves the disk's share of a reaction.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                with self._transaction():
                    self._connection.execute(_SCHEMA)
                    self._connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            elif version != _SCHEMA_VERSION:
                raise StartError(f"state_path: '{path}' has version {version}; this version reads {_SCHEMA_VERSION}")
            self._connection.execute(
                "DELETE FROM alerts WHERE status != ? AND delivered AND ends_at_s < ?", (FIRING, wall_s - _FORGET_S)
            )
        except (OSError, sqlite3.Error) as error:
            raise StartError(f"state_path: '{path}' cannot be used ({error})") from None

    def load(self) -> list[Stored]:
        """Return every alert that is known."""
        with self._lock:
            rows = self._connection.execute("SELECT * FROM alerts").fetchall()
        return [
            Stored(
                Alert((rule, device), status, starts_at_s, ends_at_s, reason, _decode(labels), _decode(annotations)),
                bool(delivered),
            )
            for rule, device, status, starts_at_s, ends_at_s, reason, labels, annotations, delivered in rows
        ]

    def save(self, alerts: Iterable[Alert]) -> None:
        """Write alerts as they stand now, not delivered yet; from then on they survive the death of this process.

        Raises:
            sqlite3.Error: they are not.
        """
        with self._lock, self._transaction():
            self._connection.executemany(
                "REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
                [
                    (
                        *alert.key,
                        alert.status,
                        alert.starts_at_s,
                        alert.ends_at_s,
                        alert.reason,
                        msgspec.json.encode(alert.labels).decode(),
                        msgspec.json.encode(alert.annotations).decode(),
                    )
                    for alert in alerts
                ],
            )

    def delivered(self, alerts: Iterable[Alert]) -> None:
        """Note that the webhook has taken these; one that changed since stays not delivered.

        Raises:
            sqlite3.Error: it could not be written.
        """
        with self._lock, self._transaction():
            self._connection.executemany(
                "UPDATE alerts SET delivered = 1 WHERE rule = ? AND device = ? AND status = ? AND starts_at_s = ?",
                [(*alert.key, alert.status, alert.starts_at_s) for alert in alerts],
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise


def _decode(text: str) -> dict[str, str]:
    return msgspec.json.decode(text, type=dict[str, str])

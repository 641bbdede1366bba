"""Commands: the one that stands at each pin, and the log of how it came to be.

Follows from the winning claim; `seq` grows with every command of a pin, and is
stored before it is sent, so that it grows across crashes too.
"""

import math
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from webhook.arbiter import Claim
from webhook.database import Database

__all__ = ["Commands", "Pin", "PinCommand"]

Pin = tuple[str, str]
"""A device id and the name of one of its pins."""

# A lease outlives its claim by no more than this: long enough for the webhook's own release to come first.
_GRACE_S = 5
_MAX_CHANGES = 100_000
_COLUMNS = "device, pin, value, slot, source, seq, ttl_s, changed_s, at_s, acked_s"


@dataclass(frozen=True, slots=True)
class PinCommand:
    """The command that stands at a pin.

    Attributes:
        value: the wanted value, None when the pin is released.
        slot, source: of the claim that it follows, "" when the pin is released.
        seq: greater than that of every earlier command of the pin.
        ttl_s: the lease, seconds from receipt.
        changed_s: when the value became what it is, seconds since 1970.
        at_s: when it was last sent or meant to be, seconds since 1970.
        acked_s: when the broker acknowledged it; None: not yet.
    """

    device: str
    pin: str
    value: float | None
    slot: str
    source: str
    seq: int
    ttl_s: int
    changed_s: float
    at_s: float
    acked_s: float | None = None


class Commands:
    """The tables `commands` and `changes`; the caller holds the database's lock or a transaction.

    Args:
        ttl_s: the longest lease.
        reported_seq: the `seq` that a pin's device reported last, 0 for none.
    """

    def __init__(self, database: Database, ttl_s: int, reported_seq: Callable[[Pin], int] = lambda _pin: 0) -> None:
        self._connection = database.connection
        self._ttl_s = ttl_s
        self._reported_seq = reported_seq

    def follow(
        self, pin: Pin, winner: Claim | None, value: float | None, cause: str, now_s: float, again: bool
    ) -> PinCommand | None:
        """Make the pin's command follow from the winning claim; return it when it is to be sent.

        Args:
            winner: the claim that wins, None releases the pin.
            value: what it asks for, None releases the pin.
            cause: why, for the log.
            again: send it also when it says nothing new (a fresh seq and lease).
        """
        old = self.of(pin)
        slot, source = (winner.slot, winner.source) if winner else ("", "")
        before = (old.value, old.slot, old.source) if old else (None, "", "")
        same = before == (value, slot, source)
        if same and not again:
            return None
        # Also beyond what the device knows: an older copy of this database must not make it deaf.
        seq = max(int(now_s * 1000), old.seq + 1 if old else 0, self._reported_seq(pin) + 1)
        ttl_s = self._ttl_s
        if winner and winner.until_s is not None:
            ttl_s = max(1, min(ttl_s, math.ceil(winner.until_s - now_s) + _GRACE_S))
        # Jitter keeps a thousand leases that began together from being renewed together.
        renew_s = now_s + ttl_s / 3 * random.uniform(0.85, 1.0) if value is not None else None  # noqa: S311
        changed_s = old.changed_s if old and old.value == value else now_s
        command = PinCommand(*pin, value, slot, source, seq, ttl_s, changed_s, now_s)
        self._connection.execute(
            "REPLACE INTO commands VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (*pin, value, slot, source, seq, ttl_s, changed_s, now_s, renew_s),
        )
        if not same:
            self._connection.execute(
                "INSERT INTO changes (at_s, device, pin, value, slot, source, reason, seq)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (now_s, *pin, value, slot, source, cause, seq),
            )
        return command

    def due(self, now_s: float, most: int) -> list[Pin]:
        """Return up to `most` pins whose command is to be renewed, the longest overdue first.

        One that was sent in the future is due too: the clock has been set back while nobody was looking.
        """
        return [
            (row["device"], row["pin"])
            for row in self._connection.execute(
                "SELECT device, pin FROM commands WHERE renew_s <= ? OR (renew_s IS NOT NULL AND at_s > ?)"
                " ORDER BY renew_s LIMIT ?",
                (now_s, now_s + 1, most),
            )
        ]

    def shift(self, step_s: float) -> None:
        """Move every command's times by `step_s` seconds: the clock was set."""
        self._connection.execute(
            "UPDATE commands SET changed_s = changed_s + :step, at_s = at_s + :step, renew_s = renew_s + :step",
            {"step": step_s},
        )

    def acknowledge(self, pin: Pin, seq: int, at_s: float) -> None:
        """Note when the broker acknowledged the command `seq` of `pin`."""
        self._connection.execute(
            "UPDATE commands SET acked_s = ? WHERE device = ? AND pin = ? AND seq = ?", (at_s, *pin, seq)
        )
        self._connection.execute(
            "UPDATE changes SET acked_s = ? WHERE id = (SELECT max(id) FROM changes WHERE device = ? AND pin = ?)"
            " AND acked_s IS NULL AND seq <= ?",
            (at_s, *pin, seq),
        )

    def report(self, pin: Pin, seq: int, value: float | None, at_s: float) -> float | None:
        """Note when the device reported that it did what the last change asked.

        Args:
            seq: the command that it followed last.
            value: what the pin is, None when it reported to be released.

        Returns:
            Seconds from the command to this report; None when it reports nothing new.
        """
        row = self._connection.execute(
            "SELECT * FROM changes WHERE device = ? AND pin = ? ORDER BY id DESC LIMIT 1", pin
        ).fetchone()
        if row is None or row["reported_s"] is not None or row["value"] != value:
            return None
        if value is not None and seq < row["seq"]:
            return None
        self._connection.execute("UPDATE changes SET reported_s = ? WHERE id = ?", (at_s, row["id"]))
        return max(0.0, at_s - float(row["at_s"]))

    def of(self, pin: Pin) -> PinCommand | None:
        """Return the command that stands at `pin`, None when it never had one."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM commands WHERE device = ? AND pin = ?",  # noqa: S608  (a constant)
            pin,
        ).fetchone()
        return PinCommand(*row) if row else None

    def of_device(self, device: str) -> dict[Pin, PinCommand]:
        """Return the commands that stand at the device's pins."""
        return self._by_pin("WHERE device = ?", device)

    def all(self) -> dict[Pin, PinCommand]:
        """Return the commands that stand, by pin."""
        return self._by_pin("")

    def _by_pin(self, where: str, *values: str) -> dict[Pin, PinCommand]:
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM commands {where}", values)  # noqa: S608  (constants)
        return {(row["device"], row["pin"]): PinCommand(*row) for row in rows}

    def changes(self, pin: Pin, most: int) -> list[sqlite3.Row]:
        """Return the last changes of `pin`, the newest first."""
        return self._connection.execute(
            "SELECT * FROM changes WHERE device = ? AND pin = ? ORDER BY id DESC LIMIT ?", (*pin, most)
        ).fetchall()

    def prune(self) -> None:
        """Drop the oldest changes beyond the limit of the log."""
        self._connection.execute("DELETE FROM changes WHERE id <= (SELECT max(id) FROM changes) - ?", (_MAX_CHANGES,))

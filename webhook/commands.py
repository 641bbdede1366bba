"""Commands: the one that stands at each pin, and the log of how it came to be.

Follows from the winning claim; `seq` grows with every command of a pin, and is
stored before it is sent, so that it grows across crashes too.
"""

import math
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from webhook.database import Database

__all__ = ["RELEASE", "Commands", "Pin", "PinCommand", "Wish", "change_facts"]

Pin = tuple[str, str]
"""A device id and the name of one of its pins."""

# A lease outlives its claim by no more than this: long enough for the webhook's own release to come first.
_GRACE_S = 5
_COLUMNS = "device, pin, value, slot, source, seq, ttl_s, changed_s, at_s, acked_s, dry_run"


class Wish(NamedTuple):
    """What a pin is to be, and who says so.

    Attributes:
        value: None releases the pin.
        slot, source: of the claim that wins, "" when there is none.
        until_s: when that claim ends, seconds since 1970; None: by itself never.
    """

    value: float | None
    slot: str
    source: str
    until_s: float | None = None


RELEASE = Wish(None, "", "")


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
        dry_run: it was decided and not sent.
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
    dry_run: bool = False  # from the database as 0 or 1


class Commands:
    """The tables `commands` and `changes`; the caller holds the database's lock or a transaction.

    Args:
        ttl_s: the longest lease, seconds.
        reported_seq: the `seq` that a pin's device reported last, 0 for none.
        dry_run: whether the pin's commands are only decided.
    """

    def __init__(
        self,
        database: Database,
        ttl_s: int,
        reported_seq: Callable[[Pin], int] = lambda _pin: 0,
        dry_run: Callable[[Pin], bool] = lambda _pin: False,
    ) -> None:
        self._database = database
        self._connection = database.connection
        self._read: dict[Pin, PinCommand | None] | None = None  # what `together` has read and `follow` has changed
        self._commands: list[tuple[object, ...]] = []
        self._changes: list[tuple[object, ...]] = []
        self.ttl_s = ttl_s
        self._reported_seq = reported_seq
        self._dry_run = dry_run

    @contextmanager
    def together(self, pins: Iterable[Pin]) -> Iterator[None]:
        """Read the commands of `pins` at once, and write what `follow` and `held` do within the block at its end."""
        keys = list(pins)
        rows = self._database.among(_COLUMNS, "commands", ("device", "pin"), keys)
        self._read = {**dict.fromkeys(keys), **{(row["device"], row["pin"]): PinCommand(*row) for row in rows}}
        try:
            yield
            self._write()
        finally:
            self._read = None
            self._commands.clear()
            self._changes.clear()

    def _write(self) -> None:
        if self._commands:
            self._database.write(
                "REPLACE INTO commands (device, pin, value, slot, source, seq, ttl_s, changed_s, at_s, renew_s,"
                " dry_run) VALUES {rows}",
                self._commands,
            )
        if self._changes:
            self._database.write(
                "INSERT INTO changes (at_s, device, pin, value, slot, source, reason, seq, held_by, dry_run)"
                " VALUES {rows}",
                self._changes,
            )

    def follow(self, pin: Pin, wish: Wish, cause: str, now_s: float, again: bool) -> PinCommand | None:
        """Make the pin's command what is wished, within `together`; return it when it is to be sent.

        Args:
            cause: why, for the log.
            again: send it also when it says nothing new (a fresh seq and lease).
        """
        old = self.of(pin)
        value, slot, source = wish.value, wish.slot, wish.source
        dry_run = self._dry_run(pin)
        before = (old.value, old.slot, old.source, old.dry_run) if old else (None, "", "", dry_run)
        same = before == (value, slot, source, dry_run)
        if same and (dry_run or not (again or _outlasts(old, wish.until_s, now_s))):
            return None
        # Also beyond what the device knows: an older copy of this database must not make it deaf.
        seq = max(int(now_s * 1000), old.seq + 1 if old else 0, self._reported_seq(pin) + 1)
        ttl_s = self.ttl_s
        if wish.until_s is not None:
            ttl_s = max(1, min(ttl_s, math.ceil(wish.until_s - now_s) + _GRACE_S))
        # Jitter: a thousand leases that began together are not renewed together, and after a few rounds evenly.
        renew_s = now_s + ttl_s / 3 * random.uniform(0.5, 1.0)  # noqa: S311
        changed_s = old.changed_s if old and old.value == value else now_s
        command = PinCommand(*pin, value, slot, source, seq, ttl_s, changed_s, now_s, dry_run=dry_run)
        self._commands.append(
            (
                *pin, value, slot, source, seq, ttl_s, changed_s, now_s,
                None if value is None or dry_run else renew_s, dry_run,
            )
        )  # fmt: skip
        if self._read is not None:
            self._read[pin] = command
        if old and dry_run and not old.dry_run and old.value is not None:
            # What was sent before is taken back (the survey sees to that), and its end is told by the device.
            self._log(pin, RELEASE, f"{cause}: released", seq, now_s, "", dry_run=False)
        if not same:
            self._log(pin, wish, cause, seq, now_s, "", dry_run)
        return command

    def may_hold(self, pin: Pin) -> bool:
        """Tell whether a command that was sent may still hold the pin: it stands, or its end was never reported."""
        command, last = self.of(pin), self._last_sent(pin)
        if command is None or (command.value is not None and not command.dry_run):
            return command is not None
        if last is None:
            return not command.dry_run  # the log does not reach as far
        return last["value"] is not None or last["reported_s"] is None

    def ended_s(self, pin: Pin) -> float | None:
        """Return when the device reported the end of what was sent last, seconds since 1970; None: it did not."""
        last = self._last_sent(pin)
        return last["reported_s"] if last and last["value"] is None else None

    def held(self, pin: Pin, wish: Wish, cause: str, guard: str, now_s: float) -> None:
        """Write into the log that a guard holds a wish back, within `together`."""
        self._log(pin, wish, f"{cause}; held by {guard}", 0, now_s, guard, self._dry_run(pin))

    def _log(self, pin: Pin, wish: Wish, reason: str, seq: int, now_s: float, guard: str, dry_run: bool) -> None:
        self._changes.append((now_s, *pin, wish.value, wish.slot, wish.source, reason, seq, guard, dry_run))

    def due(self, now_s: float, most: int) -> list[Pin]:
        """Return up to `most` pins whose command is to be renewed, the longest overdue first.

        One that is to be renewed later than any is due too: the clock has been set back while nobody was looking. By
        less than a third of a lease that makes a renewal late, and still in time.
        """
        # Two statements: each finds its rows in the index, together they would look at all.
        rows: list[sqlite3.Row] = []
        for where, at_s in (("<=", now_s), (">", now_s + self.ttl_s / 3 + 1)):
            rows += self._connection.execute(
                f"SELECT device, pin FROM commands WHERE renew_s {where} ? ORDER BY renew_s LIMIT ?",  # noqa: S608
                (at_s, most - len(rows)),
            )
        return [(row["device"], row["pin"]) for row in rows]

    def shift(self, step_s: float) -> None:
        """Move every command's times by `step_s` seconds: the clock was set."""
        self._connection.execute(
            "UPDATE commands SET changed_s = changed_s + :step, at_s = at_s + :step, renew_s = renew_s + :step",
            {"step": step_s},
        )

    def acknowledge(self, acked: Iterable[tuple[Pin, int, float]]) -> None:
        """Note which commands the broker has acknowledged: (pin, seq, when)."""
        rows = [(at_s, *pin, seq) for pin, seq, at_s in acked]
        self._database.write(
            "WITH acked (at_s, device, pin, seq) AS (VALUES {rows}) UPDATE commands SET acked_s = acked.at_s FROM acked"
            " WHERE commands.device = acked.device AND commands.pin = acked.pin AND commands.seq = acked.seq",
            rows,
        )
        self._database.write(
            "WITH acked (at_s, device, pin, seq) AS (VALUES {rows}) UPDATE changes SET acked_s = acked.at_s FROM acked"
            " WHERE id = (SELECT max(id) FROM changes AS last WHERE last.device = acked.device AND last.pin = acked.pin"
            " AND held_by = '' AND NOT dry_run) AND acked_s IS NULL AND changes.seq <= acked.seq",
            rows,
        )

    def report(self, pin: Pin, seq: int, value: float | None, at_s: float) -> float | None:
        """Note when the device reported that it did what the last change asked.

        Args:
            seq: the command that it followed last.
            value: what the pin is, None when it reported to be released.

        Returns:
            Seconds from the command to this report; None when it reports nothing new.
        """
        row = self._last_sent(pin)
        if row is None or row["reported_s"] is not None or row["value"] != value:
            return None
        if at_s < row["at_s"] if value is None else seq < row["seq"]:  # it is of before
            return None
        self._connection.execute("UPDATE changes SET reported_s = ? WHERE id = ?", (at_s, row["id"]))
        return max(0.0, at_s - float(row["at_s"]))

    def sent_s(self, pin: Pin) -> float | None:
        """Return when the pin's last change that was more than a wish or a rehearsal was made, None when none was."""
        last = self._last_sent(pin)
        return float(last["at_s"]) if last else None

    def _last_sent(self, pin: Pin) -> sqlite3.Row | None:
        """Return the last change of the pin that was more than a wish."""
        row: sqlite3.Row | None = self._connection.execute(
            "SELECT * FROM changes WHERE device = ? AND pin = ? AND held_by = '' AND NOT dry_run"
            " ORDER BY id DESC LIMIT 1",
            pin,
        ).fetchone()
        return row

    def of(self, pin: Pin) -> PinCommand | None:
        """Return the command that stands at `pin`, None when it never had one."""
        if self._read is not None and pin in self._read:
            return self._read[pin]
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM commands WHERE device = ? AND pin = ?",  # noqa: S608  (a constant)
            pin,
        ).fetchone()
        return PinCommand(*row) if row else None

    def of_device(self, device: str) -> dict[Pin, PinCommand]:
        """Return the commands that stand at the device's pins."""
        return self._by_pin("WHERE device = ?", device)

    def of_other_mode(self) -> list[Pin]:
        """Return the pins whose command was made with dry-run the other way."""
        return [pin for pin, command in self.all().items() if command.dry_run != self._dry_run(pin)]

    def all(self) -> dict[Pin, PinCommand]:
        """Return the commands that stand, by pin."""
        return self._by_pin("")

    def count(self) -> int:
        """Return how many pins have a command."""
        return int(self._connection.execute("SELECT count(*) FROM commands").fetchone()[0])

    def after(self, pin: Pin, most: int) -> dict[Pin, PinCommand]:
        """Return the commands of the next pins after `pin`, up to `most`."""
        return self._by_pin("WHERE (device, pin) > (?, ?) ORDER BY device, pin LIMIT ?", *pin, most)

    def _by_pin(self, where: str, *values: object) -> dict[Pin, PinCommand]:
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM commands {where}", values)  # noqa: S608  (constants)
        return {(row["device"], row["pin"]): PinCommand(*row) for row in rows}

    def changes(self, pin: Pin, most: int) -> list[sqlite3.Row]:
        """Return the last changes of `pin`, the newest first."""
        return self._connection.execute(
            "SELECT * FROM changes WHERE device = ? AND pin = ? ORDER BY id DESC LIMIT ?", (*pin, most)
        ).fetchall()

    def log(self, after: int, since_s: float, pin: Pin | None, most: int) -> list[sqlite3.Row]:
        """Return a page of the log, the oldest change first.

        Args:
            after: the `id` of the last change that is known already, 0 for none.
            since_s: no older ones, seconds since 1970.
            pin: only of this one, None for all.
            most: of how many changes.
        """
        where, values = ("AND device = ? AND pin = ?", pin) if pin else ("", ())
        return self._connection.execute(
            f"SELECT * FROM changes WHERE id > ? AND at_s >= ? {where} ORDER BY id LIMIT ?",  # noqa: S608  (constants)
            (after, since_s, *values, most),
        ).fetchall()

    def prune(self, before_s: float, most: int) -> None:
        """Drop the changes from before `before_s` (seconds since 1970), and the oldest beyond `most`.

        The last one stays: numbers would begin anew, and whoever exports the log would wait for the old ones.
        """
        last = self._connection.execute("SELECT max(id) FROM changes").fetchone()[0] or 0
        self._connection.execute(
            "DELETE FROM changes WHERE (at_s < ? AND id < ?) OR id <= ?", (before_s, last, last - most)
        )


def _outlasts(command: PinCommand | None, until_s: float | None, now_s: float) -> bool:
    """Tell whether a command's lease is longer than one that is made now may be: its claim, or a run, ends sooner."""
    if command is None or command.value is None or until_s is None:
        return False
    return command.at_s + command.ttl_s > max(until_s, now_s) + _GRACE_S + 1  # a lease is whole seconds


def change_facts(row: sqlite3.Row) -> dict[str, Any]:
    """Return a change of the log as the API shows it."""
    return {
        "id": row["id"],
        "device": row["device"],
        "pin": row["pin"],
        "at_s": row["at_s"],
        "value": row["value"],
        "slot": row["slot"],
        "source": row["source"],
        "reason": row["reason"],
        "seq": row["seq"],
        "held_by": row["held_by"] or None,
        "dry_run": bool(row["dry_run"]),
        "acked_at_s": row["acked_s"],
        "reported_at_s": row["reported_s"],
    }

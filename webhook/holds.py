"""Holds: what the guards of each pin remember, and the wishes that wait for them.

Stands between arbitration and commands: takes what the claims ask for, returns
what may be commanded now. What it remembers is in the database, so that a trip
of `max_on_s` and a pause outlive a restart. The caller holds a transaction.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from contract.payloads import number
from webhook import metrics
from webhook.arbiter import SAFETY, SLOTS, UNKNOWN
from webhook.commands import RELEASE, Commands, Pin, Wish
from webhook.database import Database
from webhook.guards import (
    EXCLUSIVE,
    HOUR_S,
    MAX_ON,
    MAX_SWITCHES,
    MIN_OFF,
    MIN_ON,
    NO_LIMITS,
    QUIET,
    Hold,
    Limits,
    Past,
    Rival,
    held_back,
    limits_declared,
    look_again_s,
    may_be_on,
    stricter,
)
from webhook.observed import Observed

__all__ = ["Holds", "Waiting"]

_TOLD = (MIN_ON, MIN_OFF, MAX_ON, MAX_SWITCHES, "safe")


class Waiting(NamedTuple):
    """What is remembered of a guarded pin; the columns of the table `guards` after the pin.

    Attributes:
        switched_s: when its command last went between on and off, seconds since 1970; None: never.
        look_s: when to look again by itself; None: when a wish changes.
        by: the guard that holds a wish back, "" for none.
        until_s, since_s, value, slot, source, cause: of that wish.
    """

    switched_s: float | None = None
    look_s: float | None = None
    by: str = ""
    until_s: float | None = None
    since_s: float | None = None
    value: float | None = None
    slot: str = ""
    source: str = ""
    cause: str = ""


class Holds:
    """The tables `guards`, `starts` and `declared_limits`.

    Args:
        observed: what the devices declare and report.
        limits: of the pins file, by pin; the devices' own are added to them.
        lease_s: the longest lease: a device that hears nothing for so long is at its safe value.
        dry_run: whether a pin's commands are only decided.
        heard: whether the broker has told by now what the devices report: until then any other pin may be on.
        foreign: what routes.yml declares of a pin of other firmware, which keeps no guard itself: known from the start.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        observed: Observed,
        limits: Mapping[Pin, Limits],
        lease_s: float,
        dry_run: Callable[[Pin], bool] = lambda _pin: False,
        heard: Callable[[], bool] = lambda: True,
        foreign: Callable[[Pin], Mapping[str, object]] = lambda _pin: {},
    ) -> None:
        self._connection = database.connection
        self._commands = commands
        self._observed = observed
        self._limits = limits
        self._lease_s = lease_s
        self._dry_run = dry_run
        self._heard = heard
        self._foreign = foreign
        with database.transaction():
            self._judge_anew()  # the limits may have changed while we were away
            self._remembered = set(self.waiting())
            rows = self._connection.execute("SELECT device, pin, declared FROM declared_limits")
            self._told: dict[Pin, dict[str, object]] = {
                (row["device"], row["pin"]): json.loads(row["declared"]) for row in rows
            }

    def limits(self, pin: Pin) -> Limits:
        """Return what the pins file and the pin's device allow, the stricter of both.

        Until a device has told what it declares, what it told an earlier process counts.
        """
        declared = self._observed.pins.get(pin[0], {}).get(pin[1]) or self._foreign(pin) or self._told.get(pin)
        ours = self._limits.get(pin, NO_LIMITS)
        return stricter(ours, limits_declared(declared)) if declared else ours

    def configure(self, limits: Mapping[Pin, Limits]) -> None:
        """Take over what the pins file says now; the caller settles the pins of which it says something else.

        A trip of `max_on_s` stays what it is: it ends when nobody wants the pin on any more.
        """
        self._limits = limits  # who waits for a rival is looked at all the time

    def configured(self) -> list[Pin]:
        """Return the pins for which the pins file sets limits."""
        return sorted(pin for pin, limits in self._limits.items() if limits != NO_LIMITS)

    def with_rivals(self, touched: Mapping[Pin, str]) -> dict[Pin, str]:
        """Return `touched` (pin -> cause) and, after them, the pins that are never on together with one of them."""
        more = dict(touched)
        for pin in touched:
            for other in sorted(self._limits.get(pin, NO_LIMITS).exclusive_with):
                more.setdefault(other, f"{'/'.join(pin)} changed")
        return more

    def allowed(
        self,
        pin: Pin,
        wish: Wish,
        wish_of: Callable[[Pin], Wish],
        cause: str,
        ended: bool,
        now_s: float,
        *,
        anybody_on: bool,
    ) -> tuple[Wish, str] | None:
        """Return what may be commanded now in place of `wish`, and why; None: nothing, the pin is left as it is.

        Args:
            wish_of: returns what the claims ask of another pin.
            cause: why the pin is looked at.
            ended: the wish came about because a claim was not renewed.
            anybody_on: any claim, the winning one or not, wants the pin on.
        """
        self._note(pin)
        limits = self.limits(pin)
        if limits == NO_LIMITS and pin not in self._remembered:
            return wish, cause
        before = self._waiting(pin)
        standing, past = self._past(pin, before, now_s)
        wanted_on = self._on(pin, wish.value)
        emergency = self._emergency(pin, wish, limits, wish_of, now_s)
        hold = held_back(
            wanted_on,
            past,
            limits,
            now_s,
            urgent=_urgent(wish, not wanted_on and (ended or emergency is not None)),
            rival=(emergency or self._rival(pin, wish, past, limits, wish_of, now_s)) if wanted_on else None,
        )
        same_wish = bool(before.by) and (before.value, before.slot, before.source) == wish[:3]
        if hold is None and same_wish and not self._is_known(pin, before.by):
            hold = Hold(before.by, None, past.on)
        waits = same_wish and hold is not None and hold.by == before.by
        result = self._instead(pin, wish, hold, past, standing)
        gives_way = emergency if emergency and self._is_in_the_way(pin, past, now_s) else None
        if gives_way:
            # Neither a release nor slot `alert` is forced: the device would keep the pin on for its own `min_on_s`.
            theirs = wish_of(gives_way.pin)
            result = Wish(self._safe(pin), SAFETY, theirs.source, theirs.until_s)
        if hold and not waits:
            self._commands.held(pin, wish, cause, hold.by, now_s)
            metrics.GUARD_HOLDS.labels(hold.by).inc()
        if hold:
            said = f"{before.cause if waits else cause}; held by {hold.by}"
        elif gives_way:
            said = f"{cause}; gives way to {'/'.join(gives_way.pin)}"
        elif same_wish:
            said = f"{before.cause}; {before.by} passed"
        else:
            said = cause
        now_on = self._on(pin, result.value) if result else past.on
        switched_s = now_s if now_on != past.on else past.switched_s
        if result and now_on and limits.max_on_s and switched_s is not None:
            # The lease ends with the run, so that a webhook that dies does not prolong it.
            run_ends_s = switched_s + limits.max_on_s
            result = result._replace(until_s=min(run_ends_s, result.until_s or run_ends_s))
        if now_on and not past.on:
            self._connection.execute("INSERT INTO starts VALUES (?, ?, ?)", (*pin, now_s))
        look_s = look_again_s(hold, now_on, switched_s, limits, now_s)
        after = Waiting(switched_s, look_s)
        if hold:
            since_s, first = (before.since_s, before.cause) if waits else (now_s, cause)
            after = Waiting(
                switched_s, look_s, hold.by, hold.until_s, since_s, wish.value, wish.slot, wish.source, first
            )
        elif past.tripped and anybody_on:
            # Overruled for a moment: `max_on_s` waits until nobody wants it on, not until somebody wants it off.
            after = before._replace(switched_s=switched_s)
        if after != before:
            self._remember(pin, after, limits)
        return (result, said) if result else None

    def due(self, now_s: float) -> list[Pin]:
        """Return the pins whose guards have to look again."""
        return [
            (row["device"], row["pin"])
            for row in self._connection.execute("SELECT device, pin FROM guards WHERE look_s <= ?", (now_s,))
        ]

    def waiting(self) -> dict[Pin, Waiting]:
        """Return what is remembered of every pin."""
        rows = self._connection.execute("SELECT * FROM guards")
        return {(row["device"], row["pin"]): Waiting(*tuple(row)[2:]) for row in rows}

    def of(self, pin: Pin) -> Waiting | None:
        """Return the wish that waits at `pin`, None when there is none."""
        waiting = self._waiting(pin) if pin in self._remembered else Waiting()
        return waiting if waiting.by else None

    def shift(self, step_s: float, now_s: float) -> None:
        """Move what is remembered by `step_s` seconds, a switch no further than to now: the clock was set.

        Quiet hours are the new clock's.
        """
        self._connection.execute(
            "UPDATE guards SET switched_s = min(switched_s + :step, :now), held_until_s = held_until_s + :step,"
            " held_since_s = held_since_s + :step, look_s = 0",
            {"step": step_s, "now": now_s},
        )
        self._connection.execute("UPDATE starts SET at_s = min(at_s + ?, ?)", (step_s, now_s))

    def prune(self, now_s: float) -> None:
        """Forget the starts that no guard counts any more."""
        self._connection.execute("DELETE FROM starts WHERE at_s < ?", (now_s - HOUR_S,))

    def _judge_anew(self) -> None:
        """Let every wish that waits be looked at again at once, but for trips of `max_on_s`."""
        self._connection.execute("UPDATE guards SET look_s = 0 WHERE held_by != '' AND held_by != ?", (MAX_ON,))

    def _waiting(self, pin: Pin) -> Waiting:
        row = self._connection.execute("SELECT * FROM guards WHERE device = ? AND pin = ?", pin).fetchone()
        return Waiting(*tuple(row)[2:]) if row else Waiting()

    def _is_known(self, pin: Pin, guard: str) -> bool:
        """Tell whether the limit of a guard is known: somebody declares it, or the device has told that it does not.

        No device declares `exclusive_with` or `quiet`. A database of an earlier version does not know what devices
        declare; until they tell what waits goes on waiting.
        """
        told = guard in (EXCLUSIVE, QUIET) or pin[1] in self._observed.pins.get(pin[0], {})
        return told or bool(getattr(self.limits(pin), guard))

    def _safe(self, pin: Pin) -> float:
        """Return the pin's safe value, or the one that was told to an earlier process."""
        safe = self._observed.safe(pin)
        if safe is None:
            safe = number(self._told.get(pin, {}).get("safe", 0), "safe")
        return safe

    def _note(self, pin: Pin) -> None:
        """Keep what the pin's device declares."""
        declared = self._observed.pins.get(pin[0], {}).get(pin[1])
        if declared is None:
            return
        told = {key: declared[key] for key in _TOLD if declared.get(key)}
        if told.keys() <= {"safe"}:
            told = {}
        if told == self._told.get(pin, {}):
            return
        if told:
            self._connection.execute("REPLACE INTO declared_limits VALUES (?, ?, ?)", (*pin, json.dumps(told)))
            self._told[pin] = told
        else:
            self._connection.execute("DELETE FROM declared_limits WHERE device = ? AND pin = ?", pin)
            del self._told[pin]

    def _remember(self, pin: Pin, what: Waiting, limits: Limits) -> None:
        if limits == NO_LIMITS and pin[1] in self._observed.pins.get(pin[0], {}):
            self._connection.execute("DELETE FROM guards WHERE device = ? AND pin = ?", pin)
            self._remembered.discard(pin)
            return
        self._connection.execute("REPLACE INTO guards VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*pin, *what))
        self._remembered.add(pin)

    def _past(self, pin: Pin, waiting: Waiting, now_s: float) -> tuple[Wish | None, Past]:
        """Return what stands, and what the pin was asked to be; without guards it was switched as its value changed."""
        rows: Iterable[sqlite3.Row] = self._connection.execute(
            "SELECT at_s FROM starts WHERE device = ? AND pin = ? AND at_s > ? ORDER BY at_s", (*pin, now_s - HOUR_S)
        )
        command = self._commands.of(pin)
        standing = Wish(command.value, command.slot, command.source) if command else None
        if command and command.dry_run and not self._dry_run(pin) and self.limits(pin).exclusive_with:
            standing = RELEASE  # rehearsed before, it has to wait for those that may be on
        switched_s = waiting.switched_s
        if switched_s is None and command:
            switched_s = command.changed_s
        reported = self._observed.reported.get(pin) if self._observed.online(pin[0]) else None
        return standing, Past(
            on=standing is not None and self._on(pin, standing.value),
            switched_s=switched_s,
            starts_s=tuple(row["at_s"] for row in rows),
            tripped=waiting.by == MAX_ON,
            rests=reported is not None and not reported.value and reported.at_s > (switched_s or 0),
        )

    def _past_beside(self, other: Pin, pin: Pin, now_s: float) -> Past:
        """Return the past of a pin as it counts for another: what was rehearsed for who rehearses alone."""
        past, command = self._past(other, self._waiting(other), now_s)[1], self._commands.of(other)
        if command and command.dry_run and not self._dry_run(pin):
            return replace(past, on=self._on(other, None), switched_s=self._commands.sent_s(other))
        return past

    def _on(self, pin: Pin, value: float | None) -> bool:
        """Tell whether a command with `value` lets the pin be on; released it is at its default."""
        return bool(self._observed.default(pin) if value is None else value)

    def _instead(self, pin: Pin, wish: Wish, hold: Hold | None, past: Past, standing: Wish | None) -> Wish | None:
        """Return what is commanded: the wish, or while it is held what stands, or the pin's safe value."""
        if hold is None:
            return wish
        if hold.on:
            # The lease ends with the guard, so that a webhook that dies does not keep it on.
            return standing._replace(until_s=hold.until_s) if standing else None
        if past.on:
            return Wish(self._safe(pin), wish.slot, wish.source, wish.until_s)
        return standing

    def _rival(
        self, pin: Pin, wish: Wish, past: Past, limits: Limits, wish_of: Callable[[Pin], Wish], now_s: float
    ) -> Rival | None:
        """Return the pin that `exclusive_with` finds in the way of `pin` being on.

        One whose wish is of a stronger slot goes first, unless its own guards hold it back; of equals the one that is
        on. Who is off waits until the other is reported off, or must be off because its lease has ended. There is
        always one that goes first, so nobody waits in a circle.
        """
        for other in sorted(limits.exclusive_with):
            theirs, their_past = wish_of(other), self._past_beside(other, pin, now_s)
            stronger = _rank(theirs) < _rank(wish) or (
                past.on and their_past.on and (_rank(theirs), other) < (_rank(wish), pin)
            )
            if stronger and not self._rehearsed(other, pin) and self._on(other, theirs.value):
                held = held_back(True, their_past, self.limits(other), now_s, urgent=_urgent(theirs, ended=False))
                if held is None:
                    return Rival(other, theirs.slot == SAFETY)
            if not past.on and self._may_be_on(other, their_past.on, their_past, now_s):
                return Rival(other)
        return None

    def _emergency(
        self, pin: Pin, wish: Wish, limits: Limits, wish_of: Callable[[Pin], Wish], now_s: float
    ) -> Rival | None:
        """Return the exclusive pin that slot `safety` wants on now, so that `pin` has to be off at once."""
        for other in sorted(limits.exclusive_with) if wish.slot != SAFETY else ():
            theirs = wish_of(other)
            wanted = theirs.slot == SAFETY and self._on(other, theirs.value) and not self._rehearsed(other, pin)
            past = self._past_beside(other, pin, now_s)
            if wanted and not held_back(True, past, self.limits(other), now_s, urgent=True):
                return Rival(other, safety=True)
        return None

    def _rehearsed(self, other: Pin, pin: Pin) -> bool:
        """Tell whether nothing that is wanted of `other` counts for `pin`: it is in dry-run, and `pin` is not."""
        return self._dry_run(other) and not self._dry_run(pin)

    def _is_in_the_way(self, pin: Pin, past: Past, now_s: float) -> bool:
        """Tell whether a pin that has to go off may be on, as far as has been heard."""
        return past.on or (self._heard() and self._may_be_on(pin, False, past, now_s))

    def _may_be_on(self, pin: Pin, asked_on: bool, past: Past, now_s: float) -> bool:
        if not self._heard():
            return True
        reported = self._observed.reported.get(pin)
        declared = self._observed.pins.get(pin[0], {}).get(pin[1], {})
        return may_be_on(
            asked_on,
            past.switched_s,
            (bool(reported.value), reported.at_s) if reported else None,
            self._observed.online(pin[0]),
            None if declared.get("hold") else self._lease_s,
            now_s,
        )


def _rank(wish: Wish) -> int:
    return SLOTS.index(wish.slot) if wish.slot else len(SLOTS)


def _urgent(wish: Wish, ended: bool) -> bool:
    return ended or wish.slot in (SAFETY, UNKNOWN)

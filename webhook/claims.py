"""Claims: who wants what of which pin, and the commands that follow.

Each change is one transaction: alerts, claims and the commands of the touched
pins, so that after any crash the database says what must stand at each pin.
Nothing is sent from here: the caller publishes the commands that come back.
"""

import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from contract.errors import ContractError
from service.failpoints import crash_at
from webhook.arbiter import ALERT, HIGH, PERSON, UNKNOWN, Claim, desired, ranked
from webhook.commands import RELEASE, Commands, Pin, PinCommand, Wish
from webhook.database import Database
from webhook.dialects import IGNORED, RESOLVED, Notification
from webhook.episodes import CLAIMED, RENEWED, WITHDRAWN, judge
from webhook.guards import Limits
from webhook.holds import Holds
from webhook.routes import targets_of
from webhook.sheet import Sheet
from webhook.targets import Target

__all__ = ["Claims", "Result"]

_json = msgspec.json.Encoder().encode

# Alerts that were not heard of for a week are forgotten, with the wish for the safe value that they may have left.
_FORGET_ALERTS_S = 7 * 86400
# The log of changes: so long, and so many.
_LOG_S = 365 * 86400
_LOG_CHANGES = 100_000


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one notification; `outcome` is one of those of `episodes`."""

    fingerprint: str
    name: str
    outcome: str
    targets: list[str]
    reason: str = ""


class Claims:
    """The tables `alerts` and `claims`, and the arbitration of every pin that they touch.

    Args:
        safe: returns a pin's safe value, None while its device has not told.
        preferences: pin -> preference within a slot; `high` for the others.
        claim_ttl_s: seconds after which an alert's claim ends unless it is asserted again.
        asked: returns the targets and the slot that an alert asks for, or raises ContractError.
        holds: the guards, None for none.
        log_s, log_changes: the age in seconds and the number of changes that the log keeps.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        safe: Callable[[Pin], float | None],
        preferences: Mapping[Pin, str],
        claim_ttl_s: float,
        asked: Callable[[Notification], tuple[list[Target], str]] = targets_of,
        holds: Holds | None = None,
        log_s: float = _LOG_S,
        log_changes: int = _LOG_CHANGES,
    ) -> None:
        self._asked = asked
        self._holds = holds
        self._log_s = log_s
        self._log_changes = log_changes
        self._database = database
        self._connection = database.connection
        self._commands = commands
        self._safe = safe
        self._preferences = preferences
        self._claim_ttl_s = claim_ttl_s

    def notify(self, notifications: Sequence[Notification], now_s: float) -> tuple[list[Result], list[PinCommand]]:
        """Apply notifications; return what became of each, and the commands to send."""
        return self.notify_all([(notifications, now_s)])[0]

    def notify_all(
        self, asked: Sequence[tuple[Sequence[Notification], float]]
    ) -> list[tuple[list[Result], list[PinCommand]]]:
        """Apply several bodies, each with when it came, in their order, as one change; return the same for each.

        A pin follows what all of them leave: what one asks for and the next takes back is never commanded.
        """
        if not asked:
            return []
        touched: dict[Pin, str] = {}
        last: dict[Pin, int] = {}  # pin -> the last body that touched it, to which its command counts
        results: list[list[Result]] = []
        with self._database.transaction():
            sheet = Sheet(self._database, [one.fingerprint for notifications, _ in asked for one in notifications])
            for number, (notifications, now_s) in enumerate(asked):
                causes: dict[Pin, str] = {}
                results.append([self._note(one, now_s, sheet, causes) for one in notifications])
                touched |= causes
                last |= dict.fromkeys(causes, number)
            sheet.write()
            commands = self._settle(touched, max(now_s for _, now_s in asked))
        sent: list[list[PinCommand]] = [[] for _ in asked]
        for command in commands:
            sent[last.get((command.device, command.pin), 0)].append(command)
        return list(zip(results, sent, strict=True))

    def hold(self, claim: Claim, now_s: float) -> list[PinCommand]:
        """Store a person's claim in place of the one that they had on the pin; return the commands to send."""
        with self._database.transaction():
            self._connection.execute("REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?, ?, ?)", claim)
            return self._settle({(claim.device, claim.pin): f"set by {claim.source}"}, now_s)

    def let_go(self, pin: Pin, now_s: float, by: str = "operator") -> list[PinCommand]:
        """Withdraw a person's claim on the pin, and what alerts of unknown end left there; return the commands.

        Args:
            by: who withdraws it, for people.
        """
        with self._database.transaction():
            self._connection.execute(
                "DELETE FROM claims WHERE device = ? AND pin = ? AND (owner = ? OR slot = ?)", (*pin, PERSON, UNKNOWN)
            )
            return self._settle({pin: f"manual claim withdrawn by {by}"}, now_s)

    def expire(self, now_s: float) -> list[PinCommand]:
        """End the claims whose time is over; return the commands to send.

        An alert's claim ends at the latest `claim_ttl_s` from now, whatever the clock said when it was made.
        """
        with self._database.lock:
            latest_s = now_s + self._claim_ttl_s
            if self._rows("SELECT 1 FROM claims WHERE owner != ? AND until_s > ? LIMIT 1", PERSON, latest_s + 1):
                with self._database.transaction():
                    self._connection.execute(
                        "UPDATE claims SET until_s = ? WHERE owner != ? AND until_s > ?", (latest_s, PERSON, latest_s)
                    )
            if not self._rows("SELECT 1 FROM claims WHERE until_s <= ? LIMIT 1", now_s):
                return []
            with self._database.transaction():
                ended = self._rows("SELECT device, pin, owner, source FROM claims WHERE until_s <= ?", now_s)
                self._connection.execute("DELETE FROM claims WHERE until_s <= ?", (now_s,))
                for row in ended:
                    self._connection.execute(
                        "UPDATE alerts SET outcome = 'expired' WHERE fingerprint = ?", (row["owner"],)
                    )
                causes = {(row["device"], row["pin"]): f"{row['source']}: expired" for row in ended}
                return self._settle(causes, now_s, ended=True)

    def look_again(self, now_s: float) -> list[PinCommand]:
        """Let the guards look at the pins whose time has come; return the commands to send."""
        if self._holds is None:
            return []
        with self._database.lock:
            due = self._holds.due(now_s)
            if not due:
                return []
            with self._database.transaction():
                return self._settle(dict.fromkeys(due, "guard"), now_s)

    def lapse(self, fingerprints: Iterable[str], cause: str, now_s: float) -> list[PinCommand]:
        """End the claims of alerts as if their time were over (a repetition claims anew); return the commands."""
        touched: dict[Pin, str] = {}
        with self._database.transaction():
            for fingerprint in fingerprints:
                for row in self._rows(
                    "DELETE FROM claims WHERE owner = ? AND slot != ? RETURNING device, pin, source",
                    fingerprint,
                    UNKNOWN,
                ):
                    touched[row["device"], row["pin"]] = f"{row['source']}: {cause}"
                self._connection.execute("UPDATE alerts SET outcome = 'expired' WHERE fingerprint = ?", (fingerprint,))
            return self._settle(touched, now_s)

    def shift(self, step_s: float, now_s: float = math.inf) -> None:
        """Move what is to happen, and what was sent, by `step_s` seconds: the clock was set, no time has passed.

        Args:
            now_s: seconds since 1970 by the new clock; what was switched since it was set is not moved beyond.
        """
        with self._database.transaction():
            self._connection.execute("UPDATE claims SET until_s = until_s + ?", (step_s,))
            self._connection.execute("UPDATE claims SET since_s = since_s + ? WHERE owner = ?", (step_s, PERSON))
            self._connection.execute("UPDATE alerts SET seen_s = seen_s + ?", (step_s,))
            self._commands.shift(step_s)
            if self._holds:
                self._holds.shift(step_s, now_s)

    def adopt(self, now_s: float) -> list[PinCommand]:
        """Decide anew for the pins whose dry-run or limits may be others than before; return the commands to send."""
        with self._database.transaction():
            touched = dict.fromkeys(self._holds.configured() if self._holds else (), "webhook started")
            touched.update(dict.fromkeys(self._commands.of_other_mode(), "dry-run was switched"))
            return self._settle(touched, now_s)

    def configure(
        self, limits: Mapping[Pin, Limits], preferences: Mapping[Pin, str], changed: Iterable[Pin], now_s: float
    ) -> list[PinCommand]:
        """Take over other limits and preferences, and decide anew for the pins that they change; return the commands.

        A command that stands is sent again, so that its lease ends with a run that `max_on_s` bounds now.
        """
        cause = "pins.yml changed"
        with self._database.transaction():
            self._preferences = preferences
            if self._holds:
                self._holds.configure(limits)
            commands = {pin: self._commands.of(pin) for pin in changed}
            standing = {pin for pin, command in commands.items() if command and command.value is not None}
            sent = self._settle(dict.fromkeys(standing, cause), now_s, again=True)
            return sent + self._settle(dict.fromkeys(commands.keys() - standing, cause), now_s)

    def reissue(self, pins: Iterable[Pin], now_s: float) -> list[PinCommand]:
        """Return the commands of `pins` anew: with what the claims say now, a greater seq and a fresh lease."""
        with self._database.transaction():
            return self._settle(dict.fromkeys(pins, "reconciled"), now_s, again=True)

    def prune(self, now_s: float) -> list[PinCommand]:
        """Forget what is too old; return the commands to send."""
        before_s = now_s - _FORGET_ALERTS_S
        with self._database.transaction():
            self._commands.prune(now_s - self._log_s, self._log_changes)
            if self._holds:
                self._holds.prune(now_s)
            forgotten = self._rows(
                "SELECT device, pin, owner FROM claims JOIN alerts ON owner = fingerprint WHERE seen_s < ?", before_s
            )
            for row in forgotten:
                self._connection.execute("DELETE FROM claims WHERE owner = ?", (row["owner"],))
            self._connection.execute("DELETE FROM alerts WHERE seen_s < ?", (before_s,))
            return self._settle({(row["device"], row["pin"]): "alert forgotten" for row in forgotten}, now_s)

    def all(self) -> list[Claim]:
        """Return every active claim, ordered by pin."""
        with self._database.lock:
            return [Claim(*row) for row in self._rows("SELECT * FROM claims ORDER BY device, pin, since_s, owner")]

    def of(self, pin: Pin) -> list[Claim]:
        """Return the active claims on `pin`, the one that wins first."""
        with self._database.lock:
            return ranked(self._on([pin])[pin], self._preferences.get(pin, HIGH))

    def by_pin(self) -> dict[Pin, list[Claim]]:
        """Return the active claims of every pin that has some, the one that wins first."""
        found: dict[Pin, list[Claim]] = {}
        for claim in self.all():
            found.setdefault((claim.device, claim.pin), []).append(claim)
        return {pin: ranked(claims, self._preferences.get(pin, HIGH)) for pin, claims in found.items()}

    def pins_of(self, device: str) -> set[Pin]:
        """Return the pins of `device` that have claims."""
        with self._database.lock:
            return {(device, row["pin"]) for row in self._rows("SELECT pin FROM claims WHERE device = ?", device)}

    def alerts(self, most_ended: int) -> list[sqlite3.Row]:
        """Return the alerts that fire, then the last `most_ended` that ended or expired, each the newest first."""
        firing = "status = 'firing' AND outcome != 'expired'"
        with self._database.lock:
            return self._rows(f"SELECT * FROM alerts WHERE {firing} ORDER BY starts_at DESC") + self._rows(  # noqa: S608
                f"SELECT * FROM alerts WHERE NOT ({firing}) ORDER BY seen_s DESC LIMIT ?",  # noqa: S608
                most_ended,
            )

    def _note(self, notification: Notification, now_s: float, sheet: Sheet, touched: dict[Pin, str]) -> Result:
        """Apply one notification and add the pins whose claims changed to `touched` (pin -> cause)."""
        known = sheet.known(notification.fingerprint)
        # A start in our future (of a clock that is ahead, or has been set back since) must not make the end of an alert
        # stale, nor its next episode. Of its own episode it is still the one.
        known = known if known and known[0] <= max(now_s, notification.starts_at) else None
        outcome = judge(known, notification)
        if known and outcome == RENEWED:
            notification = replace(notification, starts_at=known[0])
        reason, slot = notification.reason, ALERT
        targets: list[Target] = []
        if outcome in (CLAIMED, RENEWED, WITHDRAWN, UNKNOWN):
            try:
                targets, slot = self._asked(notification)
            except ContractError as error:
                if notification.status != RESOLVED:
                    outcome, reason = IGNORED, str(error)
            if outcome in (CLAIMED, RENEWED):
                # The claim stands: the device may come later. But a wrong name must be seen.
                strange = [f"{one.device}/{one.pin}" for one in targets if self._safe((one.device, one.pin)) is None]
                reason = f"no device has described {', '.join(strange)}" if strange else reason
            if outcome != IGNORED:
                self._assert(notification, outcome, targets, slot, now_s, sheet, touched)
            _remember(notification, outcome, reason, targets, now_s, sheet)
        shown = [str(target) for target in targets]
        return Result(notification.fingerprint, notification.name, outcome, shown, reason)

    def _assert(
        self,
        notification: Notification,
        outcome: str,
        targets: list[Target],
        slot: str,
        now_s: float,
        sheet: Sheet,
        touched: dict[Pin, str],
    ) -> None:
        """Make the alert's claims what the notification says: a claim per target, wishes for safe values, or none."""
        owner = notification.fingerprint
        since_s = min(notification.starts_at, now_s)
        cause = f"{notification.name}: {outcome}"
        wanted = {(target.device, target.pin): target.value for target in targets if outcome != WITHDRAWN}
        for pin in sheet.pins_of(owner):
            touched[pin] = cause
            if pin not in wanted:
                sheet.drop(pin, owner)
        for pin, value in wanted.items():
            touched[pin] = cause
            if outcome == UNKNOWN:
                claim = Claim(*pin, owner, None, UNKNOWN, notification.name, since_s, None)
            else:
                until_s = now_s + self._claim_ttl_s
                claim = Claim(*pin, owner, value, slot, notification.name, since_s, until_s)
            sheet.put(claim)

    def _on(self, pins: Iterable[Pin]) -> dict[Pin, list[Claim]]:
        """Return the claims on each of the pins."""
        found: dict[Pin, list[Claim]] = {pin: [] for pin in pins}
        for row in self._database.among("claims.*", "claims", ("device", "pin"), list(found)):
            found[row["device"], row["pin"]].append(Claim(*row))
        return found

    def _wish(self, pin: Pin, claims: Iterable[Claim]) -> Wish:
        """Return what the claims on the pin ask for."""
        winner = desired(claims, self._preferences.get(pin, HIGH))
        if winner is None:
            return RELEASE
        value = self._safe(pin) if winner.slot == UNKNOWN else winner.value
        if value is None:
            return Wish(None, winner.slot, winner.source)  # a safe value that only the device knows
        return Wish(value, winner.slot, winner.source, winner.until_s)

    def _settle(
        self, touched: Mapping[Pin, str], now_s: float, *, again: bool = False, ended: bool = False
    ) -> list[PinCommand]:
        """Arbitrate each touched pin (pin -> cause), past its guards; return the commands to send.

        Args:
            again: send also what says nothing new.
            ended: claims ended because nobody renewed them.
        """
        commands: list[PinCommand] = []
        looked_at = self._holds.with_rivals(touched) if self._holds else touched
        claims = self._on(looked_at)

        def wish_of(pin: Pin) -> Wish:
            return self._wish(pin, claims[pin] if pin in claims else self._on([pin])[pin])

        with self._commands.together(looked_at):
            for pin, cause in looked_at.items():
                wish = wish_of(pin)
                if self._holds:
                    anybody_on = any(claim.value for claim in claims[pin])
                    allowed = self._holds.allowed(pin, wish, wish_of, cause, ended, now_s, anybody_on=anybody_on)
                    if allowed is None:
                        continue
                    wish, cause = allowed
                command = self._commands.follow(pin, wish, cause, now_s, again and pin in touched)
                if command:
                    commands.append(command)
        if commands:
            crash_at("claims.decided")
        return commands

    def _rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self._connection.execute(sql, values).fetchall()


def _remember(
    notification: Notification, outcome: str, reason: str, targets: list[Target], now_s: float, sheet: Sheet
) -> None:
    row = (
        notification.fingerprint,
        notification.name,
        _json(notification.labels).decode(),
        _json(notification.annotations).decode(),
        notification.starts_at,
        notification.status,
        outcome,
        reason,
        _json([str(target) for target in targets]).decode(),
        now_s,
        notification.sender,
    )
    sheet.remember(row, notification.starts_at, notification.status)

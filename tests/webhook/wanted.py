"""What pins should be: the rules of docs/webhook.md once more, as plain as possible, and nothing of the webhook's code.

Who is heard, how long a claim lasts, who wins, and what a guard holds back. It
is told of every event and of every tick at the moment when the webhook is.
"""

from collections.abc import Set
from dataclasses import dataclass, field

from tests.webhook.world import CLAIM_TTL_S
from webhook.commands import Pin
from webhook.dialects import FIRING, RESOLVED, UNKNOWN, Notification
from webhook.guards import Limits

HOUR_S = 3600
DAY_S = 86400
_SLOTS = ("safety", "manual", "alert", "timer", "threshold", "unknown")
_WORDS = {FIRING: 0, UNKNOWN: 1, RESOLVED: 2}


@dataclass
class Ask:
    """What an alert of the plan wants."""

    pin: Pin
    value: int
    slot: str = "alert"


@dataclass
class Heard:
    """What was last heard of an alert.

    Attributes:
        began: when its episode began.
        word: 0 firing, 1 ended and nobody knows how, 2 resolved.
        seen: when that was heard.
        until: when its claim ends; None: it has none.
    """

    began: float
    word: int
    seen: float
    until: float | None
    unknown: bool = False


@dataclass
class Person:
    """What a person holds."""

    value: int
    since: float
    until: float
    slot: str


@dataclass
class Run:
    """What a pin is asked to be, and the past that its guards count.

    Attributes:
        next: it is its turn to be on, as soon as the pin that it is exclusive with is known to be off.
    """

    on: bool = False
    next: bool = False
    since: float | None = None
    starts: list[float] = field(default_factory=list)
    tripped: bool = False


class Wanted:
    """What every pin should be.

    Args:
        asks: the alerts that there may be, by fingerprint.
        limits: the guards; `quiet` in UTC, within a day.
    """

    def __init__(self, asks: dict[str, Ask], limits: dict[Pin, Limits]) -> None:
        self._asks = asks
        self._limits = limits
        self.heard: dict[str, Heard] = {}
        self.absent: set[str] = set()
        self.listed: dict[str, float] = {}
        self.people: dict[Pin, Person] = {}
        self.runs: dict[Pin, Run] = {pin: Run() for pin in {ask.pin for ask in asks.values()}}

    def hear(self, one: Notification, now: float) -> None:
        """Take in a word: the newest episode counts, and in it the strongest; a start in the future hides no other."""
        before = self.heard.get(one.fingerprint)
        new = (one.starts_at, _WORDS[one.status])
        if before and before.began <= max(now, one.starts_at):
            if new < (before.began, before.word):
                if new[1] == before.word == 0:  # a replica that saw it begin sooner
                    before.seen, before.until = now, now + CLAIM_TTL_S
                return
            if new == (before.began, before.word) and new[1]:
                return  # said before
        until = now + CLAIM_TTL_S if one.status == FIRING else None
        self.heard[one.fingerprint] = Heard(*new, now, until, unknown=one.status == UNKNOWN)

    def firing(self, now: float) -> dict[str, Heard]:
        return {name: one for name, one in self.heard.items() if one.until is not None and one.until > now}

    def read(self, listed: list[Notification], now: float) -> None:
        """Take in the list of active alerts; what was in it once and is missing twice in a row ends."""
        firing = self.firing(now)
        for one in listed:
            known = firing.get(one.fingerprint)
            if not known or known.began != one.starts_at or not 0 <= now - known.seen < CLAIM_TTL_S / 3:
                self.hear(one, now)
        starts = {one.fingerprint: one.starts_at for one in listed}
        self.listed = {name: began for name, began in self.listed.items() if name in firing} | starts
        absent = {name for name, one in firing.items() if name not in starts and self.listed.get(name) == one.began}
        for name in absent & self.absent:
            self.heard[name].until = None
        self.absent = absent - self.absent

    def let_go(self, pin: Pin) -> None:
        """A person lets go, of what alerts of unknown end have left there, too."""
        self.people.pop(pin, None)
        for name, one in self.heard.items():
            if self._asks[name].pin == pin:
                one.unknown = False

    def shift(self, step_s: float) -> None:
        """The clock was set: everything lasts as long as before."""
        for one in self.heard.values():
            one.seen += step_s
            if one.until is not None:
                one.until += step_s
        for person in self.people.values():
            person.since += step_s
            person.until += step_s
        for run in self.runs.values():
            run.starts = [at + step_s for at in run.starts]
            if run.since is not None:
                run.since += step_s

    def tick(self, now: float) -> None:
        """Time has passed: claims end, and no alert's lasts longer than one that is made now; guards look again."""
        over = set()
        for name, one in self.heard.items():
            if one.until is not None and one.until > now + CLAIM_TTL_S + 1:
                one.until = now + CLAIM_TTL_S
            if one.until is not None and one.until <= now:
                one.until = None
                over.add(self._asks[name].pin)
        for pin, person in list(self.people.items()):
            if person.until <= now:
                del self.people[pin]
                over.add(pin)
        self.decide(now, over)

    def wishes(self, pin: Pin, now: float) -> list[tuple[int, int]]:
        """Return the rank of the slot and the negated value of every claim: the least wins."""
        asked = [self._asks[name] for name in self.firing(now)]
        wishes = [(_SLOTS.index(ask.slot), -ask.value) for ask in asked if ask.pin == pin]
        wishes += [
            (_SLOTS.index("unknown"), 0)
            for name, one in self.heard.items()
            if one.unknown and self._asks[name].pin == pin
        ]
        person = self.people.get(pin)
        if person and person.until > now:
            wishes.append((_SLOTS.index(person.slot), -person.value))
        return wishes

    def winner(self, pin: Pin, now: float) -> tuple[str, int] | None:
        """Return the slot and the value of the claim that wins; the greater value within a slot."""
        slot, value = min(self.wishes(pin, now), default=(None, 0))
        return None if slot is None else (_SLOTS[slot], -value)

    def anybody_wants_on(self, pin: Pin, now: float) -> bool:
        return any(value for _, value in self.wishes(pin, now))

    def wants_on(self, pin: Pin, now: float) -> bool:
        winner = self.winner(pin, now)
        return bool(winner and winner[1])

    def decide(self, now: float, over: Set[Pin] = frozenset()) -> None:
        """Let the guards of every pin judge what is wanted.

        Args:
            over: pins of which a claim has just ended because nobody renewed it.
        """
        for pin, run in self.runs.items():
            winner = self.winner(pin, now)
            wanted = bool(winner and winner[1])
            urgent = bool(winner and winner[0] in ("safety", "unknown")) or (not wanted and pin in over)
            if not self.anybody_wants_on(pin, now):
                run.tripped = False
            on = self._may(run, self._limits.get(pin, Limits()), wanted, urgent, now)
            run.next = on and not run.on and bool(self._rivals(pin))
            if run.next or any(self._comes_first(rival, pin, now) for rival in self._rivals(pin)):
                on = False
            if on != run.on:
                self.switch(pin, on, now)
        self._line_up(now)

    def end_rehearsal(self) -> None:
        """What was only decided until now is to be done: of exclusive pins another may be on."""
        for pin, run in self.runs.items():
            run.on &= not self._rivals(pin)

    def switch(self, pin: Pin, on: bool, now: float) -> None:
        """Begin a run of the pin, or end it."""
        run = self.runs[pin]
        run.on, run.since = on, now
        if on:
            run.starts.append(now)
        self._line_up(now)

    def _line_up(self, now: float) -> None:
        """Of exclusive pins none is next while another is asked to be on, or comes first."""
        for pin, run in self.runs.items():
            rivals = self._rivals(pin)
            run.next &= not run.on and not any(
                self.runs[rival].on or self._comes_first(rival, pin, now) for rival in rivals
            )

    def _rivals(self, pin: Pin) -> Set[Pin]:
        return self._limits.get(pin, Limits()).exclusive_with

    def _comes_first(self, one: Pin, other: Pin, now: float) -> bool:
        """Tell whether `one` is wanted on by a stronger slot than `other`."""
        mine, theirs = self.winner(one, now), self.winner(other, now)
        return bool(mine and mine[1] and theirs and _SLOTS.index(mine[0]) < _SLOTS.index(theirs[0]))

    def _may(self, run: Run, limits: Limits, wanted: bool, urgent: bool, now: float) -> bool:
        lasted = now - run.since if run.since is not None else float("inf")
        too_long = run.on and 0 < limits.max_on_s <= lasted
        if not wanted:
            return run.on and lasted < limits.min_on_s and not urgent and not too_long
        if too_long:
            run.tripped = True
        if run.tripped:
            return False
        if urgent:
            return True
        quiet = _is_quiet(limits, now)
        if run.on:
            return not quiet or lasted < limits.min_on_s
        often = 0 < limits.max_switches_per_h <= sum(now - at < HOUR_S for at in run.starts)
        return not quiet and lasted >= limits.min_off_s and not often


def _is_quiet(limits: Limits, now: float) -> bool:
    if limits.quiet is None:
        return False
    begins, ends = ((at.hour * 60 + at.minute) * 60 for at in (limits.quiet.begins, limits.quiet.ends))
    return begins <= now % DAY_S < ends

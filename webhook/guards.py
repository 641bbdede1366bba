"""Guards: what keeps a pin from being switched too soon, too often, too long, at the wrong hour or beside another.

Pure: takes what is wanted, what the pin was asked to be so far and the limits;
says whether the wish must wait, and until when. "On" is every value but 0, as
on the device. `holds` keeps what has to be remembered.

What no guard delays: an end of claims that nobody renewed, the wish for the
safe value of an alert that ended unknown, and slot `safety` pass `min_on_s`,
`min_off_s`, `max_switches_per_h` and `quiet`, which spare machines and
neighbours. `max_on_s` and `exclusive_with` protect from damage: nothing passes
those.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from webhook.commands import Pin

__all__ = [
    "EXCLUSIVE",
    "GUARDS",
    "MAX_ON",
    "MAX_SWITCHES",
    "MIN_OFF",
    "MIN_ON",
    "NO_LIMITS",
    "QUIET",
    "Hold",
    "Limits",
    "Past",
    "Quiet",
    "Rival",
    "held_back",
    "limits_declared",
    "look_again_s",
    "may_be_on",
    "stricter",
]

MIN_ON = "min_on_s"
MIN_OFF = "min_off_s"
MAX_ON = "max_on_s"
MAX_SWITCHES = "max_switches_per_h"
EXCLUSIVE = "exclusive_with"
QUIET = "quiet"
GUARDS = (MIN_ON, MIN_OFF, MAX_ON, MAX_SWITCHES, EXCLUSIVE, QUIET)

HOUR_S = 3600
# Longer than this is for ever; a time that is further away has no date.
_LONGEST_S = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours of every day in which a pin is not on; they may span midnight.

    Attributes:
        begins, ends: times of day in `zone`; `ends` itself is not quiet any more.
    """

    begins: time
    ends: time
    zone: ZoneInfo

    def until_s(self, now_s: float) -> float | None:
        """Return when the quiet hours around `now_s` end (seconds since 1970), None outside of them."""
        return self._turn_s(now_s) if self._include(now_s) else None

    def begins_s(self, now_s: float) -> float:
        """Return when the next quiet hours begin, seconds since 1970."""
        return self._turn_s(self._turn_s(now_s) if self._include(now_s) else now_s)

    def _include(self, at_s: float) -> bool:
        clock = datetime.fromtimestamp(at_s, self.zone).time()
        return self.begins <= clock < self.ends if self.begins < self.ends else not self.ends <= clock < self.begins

    def _turn_s(self, now_s: float) -> float:
        """Return when the quiet hours around `now_s` end, or the next begin.

        In a night in which clocks are changed a time of day comes twice or never: then the change may be that moment.
        """
        today, inside = datetime.fromtimestamp(now_s, self.zone).date(), self._include(now_s)
        turns_s = [
            datetime.combine(today + timedelta(days), clock.replace(fold=fold), self.zone).timestamp()
            for days in range(3)
            for clock in (self.begins, self.ends)
            for fold in (0, 1)
        ]
        turns_s.append(self._change_s(now_s, now_s + 2 * 86400))
        return min((at_s for at_s in turns_s if at_s > now_s and self._include(at_s) != inside), default=now_s + HOUR_S)

    def _change_s(self, from_s: float, to_s: float) -> float:
        """Return the second in which clocks are changed between two moments, the second one when they are not."""
        before = datetime.fromtimestamp(from_s, self.zone).utcoffset()
        if datetime.fromtimestamp(to_s, self.zone).utcoffset() == before:
            return to_s
        least, most = math.floor(from_s), math.ceil(to_s)
        while most - least > 1:
            half = (least + most) // 2
            same = datetime.fromtimestamp(half, self.zone).utcoffset() == before
            least, most = (half, most) if same else (least, half)
        return most


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pin's guards allow; 0 or empty for no limit.

    Attributes:
        min_on_s, min_off_s: seconds that it stays on, or off, once it was switched.
        max_on_s: seconds after which it is switched off until nobody wants it on any more.
        max_switches_per_h: how often it may be switched on within any 3600 s.
        exclusive_with: pins that are never on together with it.
        quiet: hours in which it is not on.
    """

    min_on_s: float = 0
    min_off_s: float = 0
    max_on_s: float = 0
    max_switches_per_h: int = 0
    exclusive_with: frozenset[Pin] = frozenset()
    quiet: Quiet | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Past:
    """What a pin was asked to be so far.

    Attributes:
        on: whether its command asks for on.
        switched_s: when that began, seconds since 1970; None when it never had a command.
        starts_s: when it was switched on within the last hour, the oldest first.
        tripped: `max_on_s` has ended its run, and it was wanted on ever since.
        rests: its device, which is there, has said since then that it is off: there is no run that must last.
    """

    on: bool
    switched_s: float | None = None
    starts_s: tuple[float, ...] = ()
    tripped: bool = False
    rests: bool = False


@dataclass(frozen=True, slots=True)
class Rival:
    """A pin of `exclusive_with` that stands in the way.

    Attributes:
        safety: its wish is of slot `safety`.
    """

    pin: Pin
    safety: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """A wish has to wait.

    Attributes:
        by: one of GUARDS.
        until_s: when it passes, seconds since 1970; None: not a matter of time.
        on: what the pin is meanwhile.
    """

    by: str
    until_s: float | None
    on: bool


def held_back(
    wanted_on: bool, past: Past, limits: Limits, now_s: float, *, urgent: bool = False, rival: Rival | None = None
) -> Hold | None:
    """Say what holds a wish back, None when it passes.

    1. Off: only `min_on_s` delays it, and only while `max_on_s` does not end the run. It never switches a pin on again
       that went off by itself: a board that restarted, a relay that somebody switched off.
    2. On: `max_on_s`, then `exclusive_with`, whatever the wish is for.
    3. On in quiet hours: waits for their end; a pin that is on when they begin goes off after its `min_on_s`.
    4. On from off: `min_off_s`, then `max_switches_per_h`.

    Args:
        urgent: the wish passes the guards that only spare machines and neighbours.
        rival: what `exclusive_with` finds in the way.
    """
    since_s = past.switched_s if past.switched_s is not None else -float("inf")
    over = past.on and 0 < limits.max_on_s <= now_s - since_s
    young = past.on and now_s - since_s < limits.min_on_s and not over and not past.rests
    if not wanted_on:
        return Hold(MIN_ON, since_s + limits.min_on_s, on=True) if young and not urgent else None
    if past.tripped or over:
        return Hold(MAX_ON, None, on=False)
    if rival and (not young or rival.safety):
        return Hold(EXCLUSIVE, None, on=False)
    if urgent:
        return None
    quiet_until_s = limits.quiet.until_s(now_s) if limits.quiet else None
    if quiet_until_s is not None and not young:
        return Hold(QUIET, quiet_until_s, on=False)
    if past.on:
        return None
    if now_s - since_s < limits.min_off_s:
        return Hold(MIN_OFF, since_s + limits.min_off_s, on=False)
    recent_s = [at_s for at_s in past.starts_s if now_s - at_s < HOUR_S]
    if 0 < limits.max_switches_per_h <= len(recent_s):
        return Hold(MAX_SWITCHES, recent_s[-limits.max_switches_per_h] + HOUR_S, on=False)
    return None


def look_again_s(hold: Hold | None, on: bool, switched_s: float | None, limits: Limits, now_s: float) -> float | None:
    """Return when the guards have to look again by themselves (seconds since 1970), None: when a wish changes.

    Args:
        on, switched_s: what the pin is asked to be now, and since when.
    """
    if hold and hold.by == EXCLUSIVE:
        return 0  # at every look, until a device reports; always the same, so that looking writes nothing
    if hold and hold.until_s is not None:
        return hold.until_s
    if hold or not on or switched_s is None:
        return None
    ends_s = [switched_s + limits.max_on_s] if limits.max_on_s else []
    if limits.quiet or limits.exclusive_with:
        # Quiet hours or a stronger wish may have begun while it has to stay on.
        ends_s += [switched_s + limits.min_on_s] if now_s < switched_s + limits.min_on_s else []
    if limits.quiet:
        ends_s.append(limits.quiet.begins_s(now_s))
    return min(ends_s, default=None)


def may_be_on(
    asked_on: bool, off_since_s: float | None, reported: tuple[bool, float] | None, online: bool, ends_s: float | None,
    now_s: float,
) -> bool:  # fmt: skip
    """Tell whether a pin may be on, as far as can be known from here.

    Args:
        asked_on: its command asks for on.
        off_since_s: when its command stopped asking, seconds since 1970; None: it never asked.
        reported: (on, when that was heard); None: never.
        online: its device says that it is there.
        ends_s: seconds after which a device that hears nothing is at its safe value by itself; None: never (`hold`).
    """
    if asked_on:
        return True
    if reported is not None:
        on, heard_s = reported
        if not on and (off_since_s is None or heard_s >= off_since_s):
            return False
        if on and online:
            return True
    if off_since_s is None:
        return reported is not None and reported[0] and ends_s is None
    return ends_s is None or now_s < off_since_s + ends_s


def stricter(one: Limits, other: Limits) -> Limits:
    """Return limits that keep to both; quiet hours and exclusive pins come from `one`."""
    return Limits(
        max(one.min_on_s, other.min_on_s),
        max(one.min_off_s, other.min_off_s),
        min(filter(None, (one.max_on_s, other.max_on_s)), default=0),
        min(filter(None, (one.max_switches_per_h, other.max_switches_per_h)), default=0),
        one.exclusive_with,
        one.quiet,
    )


def limits_declared(declared: Mapping[str, object]) -> Limits:
    """Return what a device's `info` declares of a pin; the contract has seen to it that these are numbers."""

    def seconds(key: str) -> float:
        value = declared.get(key, 0)
        return min(max(0.0, float(value)), _LONGEST_S) if isinstance(value, int | float) else 0.0

    return Limits(seconds(MIN_ON), seconds(MIN_OFF), seconds(MAX_ON), int(seconds(MAX_SWITCHES)))

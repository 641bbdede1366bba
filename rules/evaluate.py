"""The evaluator: readings and the time in, transitions of alerts out.

It never looks at a clock. Two times are handed in: `now_s` of a clock that
never jumps, for windows, `for` and silence; `wall_s`, seconds since 1970, for
daily rules alone.

    ok --when, for--> firing --clear--> ok (resolved)
                      firing --silence--> unknown --a reading--> firing, or ok (resolved)
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rules import daily
from rules.model import FIRE, RELEASE, Condition, Daily, Rule
from rules.window import Window

__all__ = ["FIRING", "OK", "RESOLVED", "UNKNOWN", "Evaluator", "Key", "Left", "State", "Transition"]

OK = "ok"
FIRING = "firing"
RESOLVED = "resolved"
UNKNOWN = "unknown"

Key = tuple[str, str]
"""(rule's name, device id); the device of a daily rule is ""."""


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert changed; FIRING for one that was left firing means: it still does.

    Attributes:
        to: FIRING, RESOLVED or UNKNOWN.
        value: what was compared, None when silence or the clock did it.
    """

    rule: Rule
    device: str
    to: str
    value: float | None

    @property
    def key(self) -> Key:
        """The alert that changed."""
        return self.rule.name, self.device


@dataclass(frozen=True, slots=True)
class Left:
    """How an earlier evaluator left an alert: FIRING or UNKNOWN; `by_silence`: no reading made it fire."""

    status: str
    by_silence: bool = False


class State:
    """What is known of one rule and one device. Times are those of the clock that never jumps.

    Attributes:
        status: OK, FIRING or UNKNOWN.
        since_s: when it became so.
        confirmed: it rests on something seen by this evaluator, not on what another one left.
        by_silence: it fires because no reading came.
        pending_s: since when `when` holds without firing yet.
        heard_s: when the newest reading came; before any, when waiting for one began.
        silent: none came for `no_data.after`.
        value: what was compared last.
        due_s: when it is looked at again if no reading comes before; None: not at all.
    """

    __slots__ = (
        "by_silence", "confirmed", "device", "due_s", "heard_s", "pending_s", "rule", "silent", "since_s", "status",
        "value", "window",
    )  # fmt: skip

    def __init__(self, rule: Rule, device: str, now_s: float, left: Left | None) -> None:
        self.rule = rule
        self.device = device
        self.status = left.status if left else OK
        self.since_s = now_s
        self.confirmed = left is None
        self.by_silence = left is not None and left.by_silence
        self.pending_s: float | None = None
        self.heard_s = now_s
        self.silent = False
        self.value: float | None = None
        self.due_s: float | None = None
        trigger = rule.trigger
        length_s, reduce = (trigger.over_s, trigger.reduce) if isinstance(trigger, Condition) else (0.0, "last")
        self.window = Window(length_s, reduce, now_s)


class Evaluator:
    """Evaluates rules for each device by itself.

    Args:
        rules: what to evaluate.
        left: alerts that an earlier evaluator left; those that `covers` denies are the caller's to resolve.
        now_s: the time, by the clock that never jumps.
        previous: its states go on for rules that did not change.
    """

    def __init__(
        self, rules: Sequence[Rule], left: Mapping[Key, Left], now_s: float, previous: "Evaluator | None" = None
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._now_s = now_s
        self._states: dict[Key, State] = {}
        self._due: list[tuple[float, Key]] = []
        self._daily = [(rule, rule.trigger) for rule in rules if isinstance(rule.trigger, Daily)]
        self._by_sensor: dict[str, list[tuple[Rule, Condition]]] = {}
        for rule in rules:
            if isinstance(rule.trigger, Condition):
                self._by_sensor.setdefault(rule.trigger.sensor, []).append((rule, rule.trigger))
        for key, state in previous._states.items() if previous else ():
            if self._rules.get(key[0]) == state.rule:
                state.due_s = None
                self._keep(state)
        for key, one in left.items():
            if key not in self._states and self.covers(key):
                self._keep(State(self._rules[key[0]], key[1], now_s, one))
        for rule in rules:  # a device that is named and was never heard of is silent too
            for device in ("",) if isinstance(rule.trigger, Daily) else rule.trigger.devices or ():
                self._state(rule, device)

    def covers(self, key: Key) -> bool:
        """Tell whether a rule of ours is about that alert's device."""
        rule = self._rules.get(key[0])
        if rule is None or isinstance(rule.trigger, Daily):
            return rule is not None and key[1] == ""
        return key[1] != "" and rule.trigger.covers(key[1])

    def wants(self, sensor: str) -> bool:
        """Tell whether any rule is about that sensor."""
        return sensor in self._by_sensor

    def states(self) -> Iterable[State]:
        """Return every state, to be read only."""
        return self._states.values()

    def confirmed(self, key: Key) -> bool:
        """Tell whether the alert fires, and this evaluator has seen that it does."""
        state = self._states.get(key)
        return state is not None and state.status == FIRING and state.confirmed

    def feed(self, device: str, sensor: str, value: float, t_s: float) -> list[Transition]:
        """Take a reading that came at `t_s` (by the clock that never jumps); return what changed."""
        self._now_s = max(self._now_s, t_s)
        found: list[Transition] = []
        for rule, condition in self._by_sensor.get(sensor, ()):
            if condition.covers(device):
                state = self._state(rule, device)
                state.window.add(value, self._now_s)
                state.heard_s = self._now_s
                state.silent = False
                self._look(state, condition, found)
        return found

    def tick(self, now_s: float, wall_s: float) -> list[Transition]:
        """Let the time pass; return what changed by it alone."""
        self._now_s = max(self._now_s, now_s)
        found: list[Transition] = []
        while self._due and self._due[0][0] <= self._now_s:
            due_s, key = heapq.heappop(self._due)
            state = self._states[key]
            # Another due_s: an earlier look was scheduled since, and has or will put the next one here.
            if state.due_s == due_s and isinstance(state.rule.trigger, Condition):
                state.due_s = None
                self._look(state, state.rule.trigger, found)
        for rule, window in self._daily:
            state = self._states[rule.name, ""]
            if daily.active_since(window, wall_s) is None:
                if state.status == FIRING:
                    self._become(state, RESOLVED, found)
            elif state.status != FIRING or not state.confirmed:
                self._become(state, FIRING, found)
        return found

    def _look(self, state: State, condition: Condition, found: list[Transition]) -> None:
        """Decide one state anew, and when to look next."""
        now_s, no_data = self._now_s, condition.no_data
        state.value = value = state.window.value(now_s)
        if no_data and now_s >= state.heard_s + no_data.after_s:
            if not state.silent:
                self._silence(state, no_data.do, found)
        elif value is not None:
            self._decide(state, condition, value, found)
        self._schedule(state, condition)

    def _decide(self, state: State, condition: Condition, value: float, found: list[Transition]) -> None:
        holds = condition.when.holds(value)
        if state.status == FIRING:
            if not holds and (state.by_silence or condition.cleared(value)):
                self._become(state, RESOLVED, found)
            elif state.by_silence or not state.confirmed:
                self._become(state, FIRING, found)
        elif not holds:
            state.pending_s = None
            if state.status == UNKNOWN:
                self._become(state, RESOLVED, found)
        else:
            if state.pending_s is None:
                state.pending_s = self._now_s
            if self._now_s >= state.pending_s + condition.for_s:
                self._become(state, FIRING, found)

    def _silence(self, state: State, do: str, found: list[Transition]) -> None:
        """Do what `no_data` says; a silent state is not decided by its old value any more."""
        state.silent = True
        state.pending_s = None
        if state.status == FIRING and do == RELEASE:
            self._become(state, UNKNOWN, found)
        elif state.status == FIRING and not state.confirmed:
            by_silence = state.by_silence
            self._become(state, FIRING, found)
            state.by_silence = by_silence
        elif state.status != FIRING and do == FIRE:
            self._become(state, FIRING, found)
            state.by_silence = True

    def _become(self, state: State, to: str, found: list[Transition]) -> None:
        if to != state.status:
            state.since_s = self._now_s
        state.status = OK if to == RESOLVED else to
        state.confirmed = True
        state.by_silence = False
        state.pending_s = None
        found.append(Transition(state.rule, state.device, to, None if state.silent else state.value))

    def _schedule(self, state: State, condition: Condition) -> None:
        """Put the state's next look into the heap, unless an earlier one is there already."""
        moments = [] if state.silent else [state.window.changes_s]
        if condition.no_data and not state.silent:
            moments.append(state.heard_s + condition.no_data.after_s)
        if state.pending_s is not None:
            moments.append(state.pending_s + condition.for_s)
        due_s = min((moment for moment in moments if moment is not None), default=None)
        if due_s is not None and (state.due_s is None or due_s < state.due_s):
            state.due_s = due_s
            heapq.heappush(self._due, (due_s, (state.rule.name, state.device)))

    def _state(self, rule: Rule, device: str) -> State:
        found = self._states.get((rule.name, device))
        return found or self._keep(State(rule, device, self._now_s, None))

    def _keep(self, state: State) -> State:
        self._states[state.rule.name, state.device] = state
        if isinstance(state.rule.trigger, Condition):
            self._schedule(state, state.rule.trigger)
        return state

"""The evaluator: windows, hysteresis, delays and silence, by hand and against a naive model."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.evaluate import FIRING, RESOLVED, UNKNOWN, Evaluator, Left
from rules.load import load_rules, parse_rules
from rules.model import Comparison, Condition, NoData, Rule, Target

WALL = 1_790_000_000.0


def rule(text: str, name: str = "r") -> Rule:
    """Return a rule from the lines after its name."""
    lines = "\n".join("    " + line.strip() for line in text.strip().splitlines())
    return parse_rules(f"version: 1\nrules:\n  - name: {name}\n{lines}\n    then: [lights/red = 1]\n")[0]


class Play:
    """Plays readings and ticks to an evaluator and keeps what changed, as (device, to)."""

    def __init__(self, *rules: Rule, left: dict[tuple[str, str], Left] | None = None) -> None:
        self.evaluator = Evaluator(rules, left or {}, 0.0)

    def read(self, t_s: float, value: float, device: str = "pot", sensor: str = "pot") -> list[tuple[str, str]]:
        return [(one.device, one.to) for one in self.evaluator.feed(device, sensor, value, t_s)]

    def tick(self, t_s: float, wall_s: float = WALL) -> list[tuple[str, str]]:
        return [(one.device, one.to) for one in self.evaluator.tick(t_s, wall_s)]


def test_it_fires_above_the_threshold_and_resolves_where_clear_says():
    """Between the two nothing changes."""
    play = Play(rule("when: pot > 80\nclear: pot < 70"))
    assert play.read(1, 80) == []
    assert play.read(2, 80.5) == [("pot", FIRING)]
    assert play.read(3, 75) == []
    assert play.read(4, 69) == [("pot", RESOLVED)]
    assert play.read(5, 75) == []


def test_without_clear_it_resolves_as_soon_as_when_no_longer_holds():
    """The default of `clear` is: not `when`."""
    play = Play(rule("when: pot >= 80"))
    assert play.read(1, 80) == [("pot", FIRING)]
    assert play.read(2, 79.9) == [("pot", RESOLVED)]


def test_each_device_is_decided_by_itself():
    """`device: "*"`, the default."""
    play = Play(rule("when: pot > 80"))
    assert play.read(1, 90, "a") == [("a", FIRING)]
    assert play.read(2, 10, "b") == []
    assert play.read(3, 90, "b") == [("b", FIRING)]
    assert play.read(4, 10, "a") == [("a", RESOLVED)]


def test_a_rule_sees_only_the_devices_and_the_sensor_that_it_names():
    """A list of devices, and a device before the dot."""
    play = Play(rule("when: pot > 80\ndevice: [a, b]"), rule("when: c.pot > 80", "dotted"))
    assert play.read(1, 90, "a") == [("a", FIRING)]
    assert play.read(1, 90, "d") == []
    assert play.read(1, 90, "a", "temperature") == []
    assert play.read(1, 90, "c") == [("c", FIRING)]


def test_the_mean_is_that_of_the_last_seconds_only():
    """A reading leaves the window when it is `over` old."""
    play = Play(rule("when: pot > 80\nover: 10s"))
    assert play.read(0, 100) == [("pot", FIRING)]
    assert play.read(5, 40) == [("pot", RESOLVED)]
    assert play.read(9, 95) == []
    assert play.read(10, 95) == []  # 40, 95, 95
    assert play.read(15, 95) == [("pot", FIRING)]


def test_a_value_changes_when_a_reading_leaves_the_window_without_a_new_one():
    """The clock alone decides, at the next tick."""
    play = Play(rule("when: pot > 80\nover: 10s"))
    assert play.read(0, 20) == []
    assert play.read(5, 95) == []
    assert play.tick(9.9) == []
    assert play.tick(10) == [("pot", FIRING)]


@pytest.mark.parametrize(
    ("reduce", "values", "fires"),
    [
        ("max", (81, 1, 1), True),
        ("min", (81, 82, 1), False),
        ("last", (81, 81, 1), False),
        ("mean", (90, 90, 61), True),
    ],
)
def test_a_window_can_be_reduced_in_other_ways(reduce: str, values: tuple[float, ...], fires: bool):
    """`over: 10s max`."""
    play = Play(rule(f"when: pot > 80\nover: 10s {reduce}"))
    for t_s, value in enumerate(values):
        play.read(t_s, value)
    assert (play.evaluator.confirmed(("r", "pot"))) == fires


def test_a_count_fires_when_a_named_device_sends_too_little():
    """It has no value before a whole window was watched."""
    play = Play(rule("when: pot < 2\nover: 10s count\ndevice: pot"))
    assert play.read(1, 5) == []
    assert play.tick(9) == []
    assert play.tick(10) == [("pot", FIRING)]
    assert play.read(10.5, 5) == [("pot", RESOLVED)]
    assert play.tick(11) == [("pot", FIRING)]


def test_for_waits_and_starts_again_when_the_condition_breaks():
    """The condition must hold all the time."""
    play = Play(rule("when: pot > 80\nfor: 10s"))
    assert play.read(0, 90) == []
    assert play.read(9, 70) == []
    assert play.read(10, 90) == []
    assert play.tick(19.9) == []
    assert play.tick(20) == [("pot", FIRING)]
    assert play.read(21, 10) == [("pot", RESOLVED)]


def test_a_silent_device_releases_what_it_claimed_and_says_so_once():
    """Unknown is not resolved; the next reading decides anew."""
    play = Play(rule("when: pot > 80\nclear: pot < 70\nno_data: {after: 30s}"))
    play.read(0, 90)
    assert play.tick(29.9) == []
    assert play.tick(30) == [("pot", UNKNOWN)]
    assert play.tick(300) == []
    assert play.read(301, 75) == [("pot", RESOLVED)]
    play.read(302, 90)
    assert play.tick(332) == [("pot", UNKNOWN)]
    assert play.read(340, 90) == [("pot", FIRING)]


def test_a_silent_device_may_be_held():
    """`do: hold`: the alert goes on."""
    play = Play(rule("when: pot > 80\nno_data: {after: 30s, do: hold}"))
    play.read(0, 90)
    assert play.tick(300) == []
    assert play.evaluator.confirmed(("r", "pot"))


def test_a_silent_device_may_fire_also_when_it_was_never_heard_of():
    """`do: fire`; a reading that does not ask for it ends it, also between `when` and `clear`."""
    play = Play(rule("when: pot > 80\nclear: pot < 70\ndevice: pot\nno_data: {after: 30s, do: fire}"))
    assert play.tick(29) == []
    assert play.tick(30) == [("pot", FIRING)]
    assert play.read(31, 75) == [("pot", RESOLVED)]
    assert play.tick(61) == [("pot", FIRING)]
    assert play.read(62, 90) == [("pot", FIRING)]  # the same alert, now by a reading
    assert play.read(63, 75) == []
    assert play.read(64, 60) == [("pot", RESOLVED)]


def test_silence_ends_the_wait_of_for():
    """A condition that nobody sees does not go on holding."""
    play = Play(rule("when: pot > 80\nfor: 60s\nno_data: {after: 30s}"))
    play.read(0, 90)
    assert play.tick(30) == []
    assert play.tick(120) == []
    assert play.read(121, 90) == []
    assert play.tick(150) == []


def test_an_alert_that_was_left_firing_is_resolved_by_the_first_reading_that_says_so():
    """Its condition ended while nobody watched."""
    play = Play(rule("when: pot > 80\nclear: pot < 70"), left={("r", "pot"): Left(FIRING)})
    assert not play.evaluator.confirmed(("r", "pot"))
    assert play.tick(1) == []
    assert play.read(2, 60) == [("pot", RESOLVED)]


def test_an_alert_that_was_left_firing_is_confirmed_by_a_reading_that_does_not_end_it():
    """Between `when` and `clear` it goes on; `for` does not begin again."""
    play = Play(rule("when: pot > 80\nclear: pot < 70\nfor: 1h"), left={("r", "pot"): Left(FIRING)})
    assert play.read(2, 75) == [("pot", FIRING)]
    assert play.evaluator.confirmed(("r", "pot"))
    assert play.read(3, 75) == []


def test_an_alert_that_was_left_firing_becomes_unknown_when_no_reading_comes():
    """After `no_data.after`, counted from the start."""
    play = Play(rule("when: pot > 80"), left={("r", "pot"): Left(FIRING)})
    assert play.tick(59) == []
    assert play.tick(60) == [("pot", UNKNOWN)]


def test_an_alert_that_was_left_firing_is_held_when_the_rule_says_hold():
    """Silence confirms it."""
    play = Play(rule("when: pot > 80\nno_data: {do: hold}"), left={("r", "pot"): Left(FIRING)})
    assert play.tick(60) == [("pot", FIRING)]


def test_what_did_not_change_in_the_file_goes_on():
    """Windows and waits of a rule that is equal; a changed rule begins anew, its alert waits to be confirmed."""
    same, other = rule("when: pot > 80\nfor: 10s", "same"), rule("when: pot > 80", "other")
    before = Evaluator([same, other], {}, 0.0)
    before.feed("pot", "pot", 90, 1)
    after = Evaluator(
        [replace(same), rule("when: pot > 85", "other")], {("other", "pot"): Left(FIRING)}, 5.0, previous=before
    )
    assert not after.confirmed(("other", "pot"))
    assert [(one.rule.name, one.to) for one in after.tick(11, WALL)] == [("same", FIRING)]
    assert [(one.rule.name, one.to) for one in after.feed("pot", "pot", 90, 12)] == [("other", FIRING)]


def test_it_says_which_alerts_no_rule_is_about_any_more():
    """A rule that is gone, a device that is not listed any more, a rule that is daily now."""
    evaluator = Evaluator(
        [
            rule("when: pot > 80\ndevice: [a, b]", "listed"),
            rule("daily: '18:00'\nlasts: 1h\ntz: UTC", "lamp"),
        ],
        {},
        0.0,
    )
    keys = [("listed", "a"), ("listed", "c"), ("lamp", ""), ("lamp", "a"), ("gone", "a")]
    assert [evaluator.covers(key) for key in keys] == [True, False, True, False, False]


def test_daily_rules_follow_the_wall_clock_alone():
    """18:00 to 19:00 UTC; WALL is 2026-09-21 14:13:20 UTC."""
    play = Play(rule("daily: '18:00'\nlasts: 1h\ntz: UTC"))
    begins_s = WALL + 3 * 3600 + 46 * 60 + 40
    assert play.tick(1, begins_s - 1) == []
    assert play.tick(2, begins_s) == [("", FIRING)]
    assert play.tick(3, begins_s + 3599) == []
    assert play.tick(4, begins_s - 3600) == [("", RESOLVED)]  # somebody set the clock back
    assert play.tick(5, begins_s + 1) == [("", FIRING)]
    assert play.tick(6, begins_s + 3600) == [("", RESOLVED)]


@pytest.mark.parametrize("minute", [30, 90])
def test_a_daily_rule_that_was_left_firing_is_decided_by_the_first_tick(minute: int):
    """Confirmed inside its window, resolved outside."""
    play = Play(rule("daily: '18:00'\nlasts: 1h\ntz: UTC"), left={("r", ""): Left(FIRING)})
    begins_s = WALL + 3 * 3600 + 46 * 60 + 40
    assert play.tick(1, begins_s + minute * 60) == [("", FIRING if minute < 60 else RESOLVED)]


def test_the_sample_fires_and_resolves_with_every_sweep_of_the_virtual_potentiometer():
    """0 to 100 and back in 40 s, twice a second: what a newcomer sees in local mode."""
    play = Play(*load_rules(Path(__file__).resolve().parents[2] / "rules" / "sample.yml"))
    changes = []
    for step in range(240):
        t_s = step / 2
        changes += [(t_s, to) for _, to in play.tick(t_s) + play.read(t_s, 100 - abs(t_s % 40 - 20) * 5)]
    assert [to for _, to in changes] == [FIRING, RESOLVED] * 3
    lit_s = [over - fired for (fired, _), (over, _) in zip(changes[::2], changes[1::2], strict=True)]
    assert all(5 < seconds < 12 for seconds in lit_s), changes


# A naive model: every reading is kept, and everything is decided anew at every event.


@dataclass
class Naive:
    """One rule, one device, no schedule and no forgetting."""

    condition: Condition
    status: str = "ok"
    pending_s: float | None = None
    by_silence: bool = False
    was_silent: bool = False

    def __post_init__(self) -> None:
        self.readings: list[tuple[float, float]] = []

    def event(self, now_s: float, reading: float | None) -> list[str]:
        if reading is not None:
            self.readings.append((now_s, reading))
        no_data = self.condition.no_data
        heard_s = self.readings[-1][0] if self.readings else 0.0
        silent = no_data is not None and now_s - heard_s >= no_data.after_s
        newly, self.was_silent = silent and not self.was_silent, silent
        before = self.status
        again = False
        if silent:
            self.pending_s = None
            if newly and no_data and no_data.do == "fire" and before != "firing":
                self.status, self.by_silence = "firing", True
            if newly and no_data and no_data.do == "release" and before == "firing":
                self.status, self.by_silence = "unknown", False
        elif (value := self.value(now_s)) is not None:
            holds = self.condition.when.holds(value)
            self.pending_s = (now_s if self.pending_s is None else self.pending_s) if holds else None
            if before == "firing":
                over = not holds if self.by_silence or not self.condition.clear else self.condition.clear.holds(value)
                self.status = "ok" if over else "firing"
                again = self.by_silence and not over
                self.by_silence = False
            elif self.pending_s is not None and now_s >= self.pending_s + self.condition.for_s:
                self.status = "firing"
            elif not holds:
                self.status = "ok"
        if self.status == "firing":
            self.pending_s = None
        if self.status == before and not again:
            return []
        return [RESOLVED if self.status == "ok" else self.status]

    def value(self, now_s: float) -> float | None:
        over_s, reduce = self.condition.over_s, self.condition.reduce
        inside = [value for t_s, value in self.readings if t_s + over_s > now_s]
        if reduce == "count":
            return float(len(inside)) if now_s >= over_s else None
        inside = inside or [value for _, value in self.readings[-1:]]
        if not inside:
            return None
        return {"mean": sum(inside) / len(inside), "max": max(inside), "min": min(inside), "last": inside[-1]}[reduce]


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """Any condition on pot of the device pot with whole numbers."""
    number = draw(st.integers(0, 10))
    operator, opposite, step = draw(st.sampled_from([(">", "<", -1), (">=", "<", -1), ("<", ">", 1), ("<=", ">", 1)]))
    clear = Comparison(opposite, number + step * draw(st.integers(0, 3)) + (0 if "=" not in operator else step))
    reduce = draw(st.sampled_from(["mean", "max", "min", "last", "count"]))
    over_s = draw(st.integers(1 if reduce == "count" else 0, 8))
    no_data = None
    if reduce != "count":
        no_data = NoData(max(1, over_s) + draw(st.integers(0, 6)), draw(st.sampled_from(["release", "hold", "fire"])))
    return Condition(
        "pot",
        ("pot",),
        Comparison(operator, number),
        draw(st.sampled_from([clear, None])),
        over_s,
        reduce if over_s else "last",
        draw(st.integers(0, 6)),
        no_data,
    )


events = st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(-1, 11))), max_size=60)


@given(conditions(), events)
@settings(max_examples=400, deadline=None)
def test_it_decides_as_a_model_that_forgets_nothing(condition: Condition, steps: list[tuple[int, int | None]]):
    """Whatever comes in whatever rhythm: the schedule misses nothing and adds nothing."""
    evaluator = Evaluator([Rule("r", condition, (Target("lights", "red", 1),), "alert", "stream")], {}, 0.0)
    naive = Naive(condition)
    now_s = 0.0
    for wait_s, value in steps:
        now_s += wait_s
        # The clock's own changes come first, as they do when ticks are frequent.
        expected = naive.event(now_s, None)
        found = [one.to for one in evaluator.tick(now_s, WALL)]
        if value is not None:
            expected += naive.event(now_s, value)
            found += [one.to for one in evaluator.feed("pot", "pot", value, now_s)]
        assert found == expected, (now_s, value)

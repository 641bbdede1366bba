"""The runner: transitions reach the disk before the poster, and alerts outlive the process and the rules."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.alerts import Alert
from rules.evaluate import FIRING, RESOLVED, UNKNOWN
from rules.intake import Reading
from rules.load import parse_rules
from rules.model import Rule
from rules.runner import Runner
from rules.state import State

BRIGHT = "- {name: too-bright, when: pot > 80, clear: pot < 70, then: [lights/red = 1]}"
BRIGHTER = BRIGHT.replace("lights/red = 1", "lights/red = 0")


def rules(*lines: str) -> list[Rule]:
    return parse_rules("version: 1\nrules:\n" + "\n".join(lines))


@dataclass
class World:
    """A runner with hand-set clocks, and what it handed to the poster; it can be started again."""

    path: Path
    now_s: float = 100.0
    wall_s: float = 1_790_000_000.0
    posted: list[Alert] = field(default_factory=list)
    on_disk_first: bool = True

    def start(self, *lines: str) -> "World":
        self.state = State(self.path, self.wall_s)
        self.runner = Runner(rules(*lines), self.state, self.put, 60.0, lambda: self.now_s, lambda: self.wall_s)
        self.runner.start()
        return self

    def restart(self, *lines: str, after_s: float = 5.0) -> "World":
        self.state.close()
        self.now_s = 7.0  # another boot: that clock begins anew
        self.wall_s += after_s
        self.posted.clear()
        return self.start(*lines)

    def put(self, alerts: Sequence[Alert], _since_s: float) -> None:
        stored = {one.alert.key: one.alert for one in self.state.load()}
        self.on_disk_first &= all(stored[alert.key] == alert for alert in alerts)
        self.posted.extend(alerts)

    def read(self, value: float, device: str = "pot") -> None:
        self.runner.feed(Reading(device, "pot", value))

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.wall_s += seconds
        self.runner.tick()

    def states(self) -> list[tuple[str, str]]:
        """Return (device, status) of what was posted since the last look."""
        found = [(alert.key[1], alert.status) for alert in self.posted]
        self.posted.clear()
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "rules.db")


def test_a_firing_alert_is_posted_again_every_minute_until_it_ends(world: World):
    """The webhook lets claims end that nobody asserts."""
    world.start(BRIGHT)
    world.read(90)
    assert world.states() == [("pot", FIRING)]
    world.wait(30)
    world.read(90)
    assert world.states() == []
    world.wait(30)
    assert world.states() == [("pot", FIRING)]
    world.read(10)
    assert world.states() == [("pot", RESOLVED)]
    world.wait(120)
    assert world.states() == []


def test_what_changed_is_on_the_disk_before_it_is_posted(world: World):
    """A crash between the two repeats a notification; the other way round it would lose one."""
    world.start(BRIGHT)
    for value in (90, 10, 90):
        world.read(value)
    world.wait(60)
    assert world.on_disk_first


def test_an_alert_whose_condition_still_holds_after_a_restart_keeps_its_start(world: World):
    """It is posted as soon as a reading confirms it, not before."""
    world.start(BRIGHT)
    world.read(90)
    [before] = world.posted
    world.restart(BRIGHT)
    world.wait(59)
    assert world.states() == []
    world.read(75)
    [again] = world.posted
    assert again.status == FIRING
    assert again.starts_at_s == before.starts_at_s


def test_an_alert_whose_condition_ended_meanwhile_is_resolved_by_the_first_reading(world: World):
    """Even though it never resolved while anybody watched."""
    world.start(BRIGHT)
    world.read(90)
    world.restart(BRIGHT, after_s=600)
    world.read(10)
    [over] = world.posted
    assert over.status == RESOLVED
    assert over.ends_at_s == world.wall_s


def test_an_alert_whose_device_is_silent_after_a_restart_becomes_unknown(world: World):
    """After no_data.after."""
    world.start(BRIGHT)
    world.read(90)
    world.restart(BRIGHT)
    world.wait(60)
    assert world.states() == [("pot", UNKNOWN)]


@pytest.mark.parametrize(
    "line",
    [
        "- {name: other, when: pot > 80, then: [lights/red = 1]}",
        BRIGHT.replace("when", "device: [attic], when"),
        "- {name: too-bright, daily: '18:00', lasts: 1m, tz: UTC, then: [lights/red = 1]}",
    ],
    ids=["the rule is gone", "the device is not listed", "the rule is daily now"],
)
@pytest.mark.parametrize("how", ["restart", "reload"])
def test_an_alert_that_no_rule_is_about_any_more_is_resolved_at_once(world: World, line: str, how: str):
    """By a restart and by a reload."""
    world.start(BRIGHT)
    world.read(90)
    world.states()
    if how == "restart":
        world.restart(line)
    else:
        world.runner.replace(rules(line))
    assert world.states() == [("pot", RESOLVED)]
    world.wait(120)
    assert world.states() == []


def test_what_the_webhook_did_not_get_before_a_restart_is_posted_by_the_next_start(world: World):
    """A resolved alert has no reading to wait for."""
    world.start(BRIGHT)
    world.read(90)
    world.runner.delivered(list(world.posted))
    world.read(10)
    world.restart(BRIGHT)
    assert world.states() == [("pot", RESOLVED)]
    world.restart(BRIGHT)
    world.runner.delivered(list(world.posted))
    world.restart(BRIGHT)
    assert world.states() == []


def test_a_rule_with_other_targets_is_posted_with_them_at_the_next_reading(world: World):
    """The alert goes on; the webhook replaces its claims."""
    world.start(BRIGHT)
    world.read(90)
    [before] = world.posted
    world.posted.clear()
    world.runner.replace(rules(BRIGHTER))
    world.read(90)
    [after] = world.posted
    assert after.starts_at_s == before.starts_at_s
    assert (before.labels["actuate"], after.labels["actuate"]) == ("lights/red=1", "lights/red=0")


def test_a_reload_of_the_same_rules_changes_nothing(world: World):
    """Firing alerts go on being posted, delays go on running."""
    slow = "- {name: slow, when: pot > 80, for: 20s, then: [lights/red = 1]}"
    world.start(BRIGHT, slow)
    world.read(90)
    world.wait(10)
    world.runner.replace(rules(BRIGHT, slow))
    world.wait(10)
    assert [alert.key[0] for alert in world.posted] == ["too-bright", "slow"]
    world.read(90)
    world.wait(40)
    assert [alert.key[0] for alert in world.posted] == ["too-bright", "slow", "too-bright"]


def test_without_a_disk_alerts_still_go_out_and_it_is_told(world: World):
    """What cannot be kept is better known than not sent."""
    world.start(BRIGHT)
    world.read(90, "a")
    world.state._connection.execute("DROP TABLE alerts")
    world.put = lambda alerts, _since_s: world.posted.extend(alerts)  # type: ignore[method-assign]
    world.runner._put = world.put
    world.read(90)
    assert ("pot", FIRING) in world.states()
    assert "cannot be written" in (world.runner.state_problem or "")


def test_an_alert_that_is_stale_to_the_webhook_begins_anew_once_each_time_it_is_asserted(world: World):
    """The database lost an end that the webhook knows: without a new start nothing would ever switch again."""
    world.start(BRIGHT)
    world.read(90)
    [lost] = world.posted
    world.runner.stale([lost])
    _, again = world.posted
    assert (again.status, again.starts_at_s) == (FIRING, lost.starts_at_s + 0.001)
    world.runner.stale([again])
    assert len(world.posted) == 2
    world.wait(30)
    world.read(90)
    world.wait(30)
    world.runner.stale([again])
    assert world.posted[-1].starts_at_s == world.wall_s
    assert world.on_disk_first


def test_an_alert_that_ended_while_the_webhook_called_it_stale_does_not_begin_anew(world: World):
    """What is on its way says more."""
    world.start(BRIGHT)
    world.read(90)
    [lost] = world.posted
    world.read(10)
    world.runner.stale([lost])
    assert world.states() == [("pot", FIRING), ("pot", RESOLVED)]


STEPS = st.one_of(
    st.tuples(st.just("read"), st.sampled_from([10, 75, 90]), st.sampled_from(["a", "b"])),
    st.tuples(st.just("wait"), st.sampled_from([1, 20, 61])),
    st.tuples(st.just("restart"), st.booleans()),
    st.tuples(st.just("reload"), st.booleans()),
    st.tuples(st.just("clock"), st.sampled_from([-100_000, 100_000])),
)


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=60, deadline=None)
def test_the_last_word_about_an_alert_is_how_it_stands(tmp_path_factory, steps: list[tuple]):
    """Whatever happens: what was posted last, over all runs, is what the database says, and starts only grow."""
    world = World(tmp_path_factory.mktemp("runner") / "rules.db").start(BRIGHT)
    last: dict[tuple[str, str], Alert] = {}
    for step in steps:
        if step[0] == "read":
            world.read(*step[1:])
        elif step[0] == "wait":
            world.wait(step[1])
        elif step[0] == "restart":
            world.restart(BRIGHT if step[1] else BRIGHTER)
        elif step[0] == "reload":
            world.runner.replace(rules(BRIGHT if step[1] else BRIGHTER))
        else:
            world.wall_s += step[1]
        for alert in world.posted:
            before = last.get(alert.key)
            if before and before.status == FIRING:
                assert alert.starts_at_s == before.starts_at_s
            elif before and alert.status == FIRING:
                assert alert.starts_at_s > before.starts_at_s
            last[alert.key] = alert
        world.posted.clear()
        stored = {one.alert.key: one.alert for one in world.state.load()}
        assert {key: (one.status, one.starts_at_s) for key, one in stored.items()} == {
            key: (one.status, one.starts_at_s) for key, one in last.items()
        }
    world.state.close()

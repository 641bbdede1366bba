"""Histories that are worth telling again: found by `test_model`, or too unlikely to be found by chance."""

from collections.abc import Callable

import pytest

from tests.webhook.history import History
from tests.webhook.plans import DEVICE, EXCLUSIVE, GUARDED, PLAIN, SHELLY1, Plan
from tests.webhook.world import set_topic

RED, MAIN, BACK, ROD = ("lights", "red"), ("pump", "main"), ("well", "back"), ("heat", "rod")

Begin = Callable[[Plan], History]


def test_the_end_of_an_earlier_episode_that_comes_late_ends_nothing(begin: Begin) -> None:
    """Delayed and repeated notifications."""
    one = begin(PLAIN)
    one.fire("hot", at_once=True)
    one.end("hot")
    one.wait(7)
    one.fire("hot", at_once=True)
    one.deliver(0, keep=True)
    one.wait(30)
    assert one.world.level[RED] == 1


def test_a_start_that_comes_after_the_end_starts_nothing(begin: Begin) -> None:
    """Reordered notifications of one episode."""
    one = begin(PLAIN)
    one.fire("hot")
    one.end("hot", at_once=True)
    one.deliver(0, keep=True)
    one.wait(30)
    assert one.world.level[RED] == 0


@pytest.mark.parametrize("fuse", ["before", "after", "full", "torn"])
@pytest.mark.parametrize("plan", [PLAIN, GUARDED], ids=lambda plan: plan.name)
def test_what_happens_at_a_commit_is_done_whole_or_not_at_all(begin: Begin, plan: Plan, fuse: str) -> None:
    """A start, an end and an expiry, each with a commit that is not like others."""
    one = begin(plan)
    one.wait(40)
    name = next(name for name, ask in plan.asks.items() if ask.value)
    one.fuse(fuse)
    one.fire(name, at_once=True)
    one.read()
    one.wait(20)
    one.fuse(fuse)
    one.end(name, at_once=True)
    one.wait(20)
    one.fire(name, at_once=True)
    one.lose(0) if one.mailbox else None
    one.wait(140)
    one.fuse(fuse)
    one.wait(40)


@pytest.mark.parametrize("how", ["lost", "unacked", "twice"])
def test_a_command_that_is_lost_is_sent_again(begin: Begin, how: str) -> None:
    """To switch on, and to release: nothing renews a release."""
    one = begin(PLAIN)
    one.line(how)
    one.fire("hot", at_once=True)
    one.wait(20)
    one.line(how)
    one.end("hot", at_once=True)
    one.wait(20)
    assert one.world.level[RED] == 0


@pytest.mark.parametrize("value", [0, 1])
def test_a_command_of_somebody_else_is_corrected(begin: Begin, value: int) -> None:
    """While the pin is wanted on, and while nobody wants it."""
    one = begin(PLAIN)
    one.fire("hot", at_once=True)
    one.intrude(RED, value)
    one.wait(20)
    assert one.world.level[RED] == 1
    one.end("hot", at_once=True)
    one.intrude(RED, value)
    one.wait(20)
    assert one.world.level[RED] == 0


@pytest.mark.parametrize("what", ["webhook", "broker", "disk", "lights"])
def test_what_was_away_for_long_is_right_again_within_seconds(begin: Begin, what: str) -> None:
    """The alert began before, and ended meanwhile as nobody heard."""
    one = begin(PLAIN)
    one.fire("hot", at_once=True)
    one.stop(what)
    one.wait(100)
    one.mend("broker" if what == "disk" else what)
    one.wait(20)
    assert one.world.level[RED] == 1
    one.stop(what)
    one.end("hot", at_once=True)
    one.wait(160)
    assert one.world.level[RED] == 0
    one.mend("broker" if what == "disk" else what)


@pytest.mark.parametrize("step_s", [-86400, 3600])
@pytest.mark.parametrize("fuse", ["full", ""])
def test_a_step_of_the_clock_is_made_up_for_also_when_the_disk_is_full(begin: Begin, step_s: int, fuse: str) -> None:
    """It was forgotten when the database could not be written at that moment: claims ended, or lasted for hours."""
    one = begin(PLAIN)
    one.ask(RED, 1, 600)
    if fuse:
        one.fuse(fuse)
    one.set_clock(step_s)
    one.wait(560)
    assert one.world.level[RED] == 1
    one.wait(60)
    assert one.world.level[RED] == 0


def test_a_clock_that_was_set_back_while_stopped_holds_nothing_on(begin: Begin) -> None:
    """min_on_s held a pump on until the clock was there again: for a day, and nobody wanted it."""
    one = begin(GUARDED)
    one.wait(40)
    one.fire("low", at_once=True)
    one.stop("webhook")
    one.set_clock(-86400)
    one.mend("webhook")
    one.end("low", at_once=True)
    one.wait(30)
    assert one.world.level[MAIN] == 0


def test_a_clock_that_was_set_back_while_stopped_holds_nothing_off(begin: Begin) -> None:
    """min_off_s did likewise."""
    one = begin(GUARDED)
    one.wait(2)
    one.stop("webhook")
    one.set_clock(-86400)
    one.mend("webhook")
    one.fire("low", at_once=True)
    one.wait(40)
    assert one.world.level[MAIN] == 1


def test_what_a_person_asks_for_lasts_as_long_as_asked_whatever_the_clock_says(begin: Begin) -> None:
    """The clock was set back while stopped."""
    one = begin(PLAIN)
    one.ask(RED, 1, 60)
    one.stop("webhook")
    one.set_clock(-3600)
    one.mend("webhook")
    one.wait(80)
    assert one.world.level[RED] == 0


def test_an_unknown_end_waits_for_no_guard_while_nobody_knows_the_safe_value(begin: Begin) -> None:
    """The broker has lost its infos, and the webhook has just started."""
    one = begin(GUARDED)
    one.wait(40)
    one.stop("disk")
    one.rehearse(False)
    one.fire("flood", at_once=True)
    one.end("flood", unknown=True, at_once=True)


def test_every_guard_holds_and_passes(begin: Begin) -> None:
    """Rest, least and longest run, starts in an hour, quiet hours (08:05 to 08:08)."""
    one = begin(GUARDED)
    one.wait(40)
    for name in ("low", "soak", "low", "soak", "low"):
        one.fire(name, at_once=True)
        one.wait(7)
        one.end(name, at_once=True)
        one.wait(20)
    one.fire("leak", at_once=True)
    one.fire("flood", at_once=True)
    one.wait(20)
    one.end("leak", at_once=True)
    for _ in range(40):
        one.repeat()
        one.deliver_together()
        one.wait(19)
    one.end("flood", at_once=True)
    one.wait(3600)
    one.fire("low", at_once=True)
    for _ in range(12):
        one.repeat()
        one.deliver_together()
        one.wait(19)
    one.end("low", at_once=True)


def test_safety_wins_over_a_person(begin: Begin) -> None:
    """And the person's claim stands when it is over."""
    one = begin(PLAIN)
    one.ask(RED, 1, 600)
    one.fire("fire", at_once=True)
    one.wait(20)
    assert one.world.level[RED] == 0
    one.end("fire", at_once=True)
    one.wait(20)
    assert one.world.level[RED] == 1


def test_an_expiry_does_not_wait_for_min_on(begin: Begin) -> None:
    """A person's claim that ends within the least run."""
    one = begin(GUARDED)
    one.wait(40)
    one.ask(MAIN, 1, 5)
    one.wait(7)
    assert one.world.level[MAIN] == 0


def test_a_board_that_restarts_has_its_command_again_within_a_second(begin: Begin) -> None:
    """Its info asks for it; a survey would take longer."""
    one = begin(PLAIN)
    one.fire("hot", at_once=True)
    one.wait(3)
    one.power_cut("lights")
    one.wait(4)
    assert one.world.level[RED] == 1


def test_an_older_clock_does_not_make_the_device_deaf(begin: Begin) -> None:
    """Set back while stopped: seq grows nevertheless."""
    one = begin(PLAIN)
    one.fire("hot", at_once=True)
    one.stop("webhook")
    one.set_clock(-86400)
    one.mend("webhook")
    one.end("hot", at_once=True)
    one.wait(20)
    one.fire("dry", at_once=True)
    one.wait(20)
    assert one.world.level[RED] == 1


def test_a_run_ends_in_time_though_the_webhook_is_away(begin: Begin) -> None:
    """Its lease ends with max_on_s."""
    one = begin(GUARDED)
    one.wait(500)
    one.ask(MAIN, 1, 600)
    one.wait(110)
    one.stop("webhook")
    one.wait(60)


@pytest.mark.parametrize("plan", [GUARDED, DEVICE, SHELLY1], ids=lambda plan: plan.name)
def test_nothing_is_switched_on_again_for_the_sake_of_its_least_run(begin: Begin, plan: Plan) -> None:
    """The board restarted, or the webhook was away for long: nobody wants the pin, min_on_s did."""
    one = begin(plan)
    one.wait(40)
    name = next(name for name, ask in plan.asks.items() if ask.value)
    one.fire(name, at_once=True)
    one.wait(5)
    one.end(name, at_once=True)
    one.stop("bridge")
    one.power_cut(plan.pins[0][0])
    one.wait(4)
    one.mend("bridge")
    one.wait(6)
    assert one.world.level[plan.pins[0]] == 0


def test_exclusive_pins_take_turns_though_one_of_them_is_away(begin: Begin) -> None:
    """The weaker one's link is lost while it is on: the other waits until it must be off."""
    one = begin(EXCLUSIVE)
    one.fire("fill", at_once=True)
    one.stop("pump")
    one.fire("drain", at_once=True)
    one.wait(45)
    one.mend("pump")
    one.wait(45)
    assert (one.world.level[MAIN], one.world.level[BACK]) == (0, 1)
    one.end("drain", at_once=True)
    one.wait(20)
    assert (one.world.level[MAIN], one.world.level[BACK]) == (1, 0)


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_exclusive_pins_do_not_wait_for_a_clock_that_was_set(begin: Begin, step_s: int) -> None:
    """What was reported moves with it: forward the other pin waited for a lease, back it would not have waited."""
    one = begin(EXCLUSIVE)
    one.set_clock(step_s)
    one.fire("rinse", at_once=True)
    assert one.world.level[BACK] == 1
    one.stop("well")
    one.set_clock(step_s)
    one.fire("fill", at_once=True)
    one.end("rinse", at_once=True)
    one.wait(20)
    one.mend("well")
    one.wait(100)
    assert (one.world.level[MAIN], one.world.level[BACK]) == (1, 0)


def test_safety_is_not_held_by_the_devices_own_guard(begin: Begin) -> None:
    """A forced command: min_on_s does not delay it."""
    one = begin(DEVICE)
    one.wait(60)
    one.fire("cold", at_once=True)
    assert one.world.level[ROD] == 1
    one.fire("fire", at_once=True)
    one.wait(2)
    assert one.world.level[ROD] == 0


def test_starts_are_counted(begin: Begin) -> None:
    """Four in an hour; the fifth waits."""
    one = begin(GUARDED)
    one.wait(500)
    for _ in range(5):
        one.ask(MAIN, 1, 600)
        one.wait(25)
        one.let_go(MAIN)
        one.wait(35)


def test_what_waits_for_a_guard_waits_no_longer_when_the_clock_is_set(begin: Begin) -> None:
    """Back, while min_off_s holds."""
    one = begin(GUARDED)
    one.wait(40)
    one.ask(MAIN, 1, 600)
    one.wait(25)
    one.let_go(MAIN)
    one.ask(MAIN, 1, 600)
    one.set_clock(-3600)
    one.wait(40)
    assert one.world.level[MAIN] == 1


def test_what_is_listed_no_more_ends_with_the_second_read(begin: Begin) -> None:
    """Its "resolved" was lost."""
    one = begin(PLAIN)
    one.fire("hot", at_once=True)
    one.read()
    one.end("hot")
    one.lose(0)
    one.read()
    assert one.world.level[RED] == 1
    one.read()
    assert one.world.level[RED] == 0


def test_what_an_unknown_end_left_goes_when_a_person_lets_go(begin: Begin) -> None:
    """The wish for the safe value."""
    one = begin(PLAIN)
    one.fire("hot", at_once=True)
    one.end("hot", unknown=True, at_once=True)
    one.let_go(RED)


def test_dry_run_takes_back_what_was_commanded(begin: Begin) -> None:
    """Nothing stays behind, retained."""
    one = begin(PLAIN)
    one.fire("hot", at_once=True)
    one.rehearse(True)
    one.wait(20)
    assert (one.world.level[RED], one.world.broker.retained.get(set_topic(RED))) == (0, None)


def test_a_retained_command_switches_nothing_on(begin: Begin) -> None:
    """A board restarts while the webhook is away."""
    one = begin(PLAIN)
    one.fire("hot", at_once=True)
    one.stop("webhook")
    one.power_cut("lights")
    one.wait(5)
    assert one.world.level[RED] == 0

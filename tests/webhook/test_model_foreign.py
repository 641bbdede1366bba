"""Histories of pins at other firmware, told: each on every firmware of `plans`."""

from collections.abc import Callable

import pytest

from tests.webhook.history import History
from tests.webhook.plans import ESPHOME, MUTE, OTHERS, OWN, SHELLY1, SHELLY2, TASMOTA, ZIGBEE, Plan

Begin = Callable[[Plan], History]

every = pytest.mark.parametrize("plan", OTHERS, ids=lambda plan: plan.name)
LONG_S = 40


def level(one: History) -> float:
    return one.world.level[one.plan.pins[0]]


@every
@pytest.mark.parametrize("how", ["lost", "unacked", "twice"])
def test_what_is_lost_on_the_way_is_sent_again(begin: Begin, plan: Plan, how: str) -> None:
    """To switch on, and off: also where nobody reports the pin."""
    one = begin(plan)
    one.wait(LONG_S)
    one.line(how, bridge=True)
    one.fire("cold", at_once=True)
    one.wait(30)
    assert level(one) == 1
    one.line(how, bridge=True)
    one.end("cold", at_once=True)
    one.wait(LONG_S)
    assert level(one) == 0


@every
@pytest.mark.parametrize("what", ["webhook", "session", "bridge", "broker", "disk", "device"])
def test_what_was_away_for_long_is_right_again(begin: Begin, plan: Plan, what: str) -> None:
    """The alert began before, and ended meanwhile; and the other way round."""
    one = begin(plan)
    name, back = (plan.name, plan.name) if what == "device" else (what, "broker" if what == "disk" else what)
    one.wait(LONG_S)
    one.fire("cold", at_once=True)
    one.wait(20)
    one.stop(name)
    one.end("cold", at_once=True)
    one.wait(100)
    one.mend(back)
    one.wait(60)
    assert level(one) == 0
    one.stop(name)
    one.fire("cold", at_once=True)
    one.wait(20)
    one.mend(back)
    one.repeat()
    one.deliver_together()
    one.wait(30)
    assert level(one) == 1


@every
def test_a_relay_that_restarts_is_what_is_wanted(begin: Begin, plan: Plan) -> None:
    """Whether it forgets or remembers; and off, when that is what is wanted."""
    one = begin(plan)
    one.wait(LONG_S)
    one.fire("cold", at_once=True)
    one.wait(30)
    one.power_cut(plan.name)
    one.wait(30)
    assert level(one) == 1
    one.end("cold", at_once=True)
    one.power_cut(plan.name)
    one.wait(LONG_S)
    assert level(one) == 0


@every
def test_a_webhook_that_restarts_ends_what_it_began(begin: Begin, plan: Plan) -> None:
    """The release went out, and nobody saw what became of it."""
    one = begin(plan)
    one.wait(LONG_S)
    one.fire("cold", at_once=True)
    one.wait(30)
    one.stop(plan.name)
    one.end("cold", at_once=True)
    one.wait(2)
    one.stop("webhook")
    one.mend(plan.name)
    one.mend("webhook")
    one.wait(LONG_S)
    assert level(one) == 0


@every
def test_an_end_that_nobody_heard_and_the_broker_has_forgotten_comes_all_the_same(begin: Begin, plan: Plan) -> None:
    """Only the database knows that the pin may still be on."""
    one = begin(plan)
    one.wait(LONG_S)
    one.fire("cold", at_once=True)
    one.wait(30)
    one.stop("bridge")
    one.end("cold", at_once=True)
    one.stop("webhook")
    one.stop("disk")
    one.mend("webhook")
    one.mend("broker")
    one.wait(LONG_S)
    assert level(one) == 0


@every
def test_a_lease_ends_at_the_relay_though_its_webhook_is_not_heard(begin: Begin, plan: Plan) -> None:
    """Its own connection is gone, and that of the bridge stands: the twin ends what nobody renews."""
    one = begin(plan)
    one.wait(LONG_S)
    one.fire("cold", at_once=True)
    one.wait(20)
    one.stop("session")
    one.wait(70 + plan.late_s(plan.pins[0]))
    assert level(one) == 0


@pytest.mark.parametrize("plan", [TASMOTA, SHELLY2], ids=lambda plan: plan.name)
def test_a_dead_mans_switch_ends_what_nobody_can(begin: Begin, plan: Plan) -> None:
    """Renewed for long, then the webhook dies, or the device hears nothing any more."""
    for what in ("webhook", plan.name):
        one = begin(plan)
        one.wait(LONG_S)
        one.fire("cold", at_once=True)
        for _ in range(8):
            one.wait(19)
            one.repeat()
            one.deliver_together()
            assert level(one) == 1
        one.stop("bridge")  # a new connection asks what the relay is, and must not stop its timer by that
        one.mend("bridge")
        one.stop(what)
        one.wait(64)
        assert level(one) == 0
        one.mend_everything()
        one.end("cold", at_once=True)
        one.world.kill()


@pytest.mark.parametrize("plan", [TASMOTA, ZIGBEE, ESPHOME, SHELLY1, SHELLY2, OWN], ids=lambda plan: plan.name)
def test_a_hand_at_the_button_is_overruled_while_somebody_wants_the_pin(begin: Begin, plan: Plan) -> None:
    """On and off; slot safety wants it off here. Sooner than the next renewal would do it."""
    one = begin(plan)
    one.wait(LONG_S)
    one.fire("cold", at_once=True)
    one.wait(30)
    one.press(plan.name, on=False)
    one.wait(10 + plan.late_s(plan.pins[0]) / 2)
    assert level(one) == 1
    one.fire("fire", at_once=True)
    one.wait(LONG_S)
    one.press(plan.name, on=True)
    one.wait(10 + plan.late_s(plan.pins[0]) / 2)
    assert level(one) == 0


@pytest.mark.parametrize("plan", [ZIGBEE, ESPHOME, SHELLY1, SHELLY2], ids=lambda plan: plan.name)
def test_what_nobody_claims_is_left_to_who_switched_it(begin: Begin, plan: Plan) -> None:
    """After a claim that ended, through a restart of the webhook and a new connection; not where it is retained."""
    one = begin(plan)
    one.wait(LONG_S)
    one.fire("cold", at_once=True)
    one.wait(30)
    one.end("cold", at_once=True)
    one.wait(LONG_S)
    one.press(plan.name, on=True)
    one.wait(LONG_S)
    one.stop("webhook")
    one.mend("webhook")
    one.wait(LONG_S)
    one.stop("broker")
    one.mend("broker")
    one.wait(LONG_S)
    assert level(one) == 1


@every
def test_alerts_that_come_and_go_quickly_leave_what_the_last_one_says(begin: Begin, plan: Plan) -> None:
    """Faster than some firmwares report."""
    one = begin(plan)
    one.wait(LONG_S)
    for _ in range(3):
        one.fire("cold", at_once=True)
        one.end("cold", at_once=True)
    one.wait(60)
    assert level(one) == 0
    one.fire("cold", at_once=True)
    one.end("cold", at_once=True)
    one.fire("cold", at_once=True)
    one.wait(60)
    assert level(one) == 1


@pytest.mark.parametrize("plan", [ESPHOME, OWN, MUTE], ids=lambda plan: plan.name)
@pytest.mark.parametrize("value", [0, 1])
def test_a_command_of_somebody_else_is_corrected_at_other_firmware_too(begin: Begin, plan: Plan, value: int) -> None:
    """While the pin is wanted on, and while nobody wants it."""
    one = begin(plan)
    one.wait(LONG_S)
    one.fire("cold", at_once=True)
    one.intrude(plan.pins[0], value)
    one.wait(LONG_S)
    assert level(one) == 1
    one.end("cold", at_once=True)
    one.intrude(plan.pins[0], value)
    one.wait(LONG_S)
    assert level(one) == 0


@pytest.mark.parametrize("plan", [ZIGBEE, ESPHOME, SHELLY1, SHELLY2], ids=lambda plan: plan.name)
def test_a_claim_for_off_that_ended_holds_nothing(begin: Begin, plan: Plan) -> None:
    """The relay was off all the time and said nothing: hours later it was switched off under somebody's hand."""
    one = begin(plan)
    one.wait(LONG_S)
    one.ask(plan.pins[0], 0, 60)
    one.wait(100)
    one.press(plan.name, on=True)
    one.wait(LONG_S)
    assert level(one) == 1


@pytest.mark.parametrize("plan", [ZIGBEE, ESPHOME, SHELLY1, SHELLY2], ids=lambda plan: plan.name)
def test_a_webhook_that_restarts_within_a_claim_for_off_holds_nothing_for_long(begin: Begin, plan: Plan) -> None:
    """A heating that was kept off in the night, and an update in it; in the morning somebody switches it on."""
    one = begin(plan)
    one.wait(LONG_S)
    one.fire("fire", at_once=True)
    one.wait(30)
    one.stop("webhook")
    one.mend("webhook")
    one.wait(30)
    one.end("fire", at_once=True)
    one.wait(200)
    one.press(plan.name, on=True)
    one.wait(LONG_S)
    assert level(one) == 1


@pytest.mark.parametrize("after_s", [1, 3, 5])
def test_an_old_report_that_comes_late_does_not_pass_for_the_end(begin: Begin, after_s: int) -> None:
    """It says off, from before the command; the command for off was lost: the lamp stayed on for ever."""
    one = begin(ZIGBEE)
    one.wait(LONG_S)
    one.stop("bridge")
    one.mend("bridge")
    one.fire("cold", at_once=True)
    one.wait(after_s)
    one.line("lost", bridge=True)
    one.end("cold", at_once=True)
    one.wait(60)
    assert level(one) == 0


def test_an_old_report_does_not_pass_for_the_end_in_a_new_process_either(begin: Begin) -> None:
    """A hand had switched it off; the command for off was lost; the webhook restarts before "on" is reported."""
    one = begin(ZIGBEE)
    one.wait(LONG_S)
    one.fire("cold", at_once=True)
    one.wait(30)
    one.press(ZIGBEE.name, on=False)
    one.rehearse(False)  # a new process: it sends "on" again
    one.wait(1)
    one.rehearse(True)  # takes that back, and sends nothing again
    one.line("lost", bridge=True)
    for _ in range(4):
        one.wait(1)
    assert one.world.webhook is not None
    assert not one.world.webhook.commands.may_hold(ZIGBEE.pins[0])  # that was the hand's "off"
    assert level(one) == 1
    one.end("cold", at_once=True)
    one.rehearse(False)
    one.wait(LONG_S)
    assert level(one) == 0


@every
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_retained_command_ends_with_its_lease_when_nobody_renews_it(begin: Begin, plan: Plan, dry_run: bool) -> None:
    """The webhook restarted and only its bridge connects; or it is in dry-run, where a stranger's is left alone."""
    one = begin(plan)
    one.wait(LONG_S)
    if dry_run:
        one.rehearse(True)
        one.wait(LONG_S)
        one.intrude(plan.pins[0], 1)
    else:
        one.fire("cold", at_once=True)
    one.wait(10)
    assert level(one) == 1
    one.stop("webhook")
    one.world.start()
    if not dry_run:
        one.stop("session")
    one.wait(75)
    assert level(one) == 0


def test_a_lamp_that_was_switched_on_in_a_rehearsal_is_left_alone_when_nothing_was_sent_after_it(begin: Begin) -> None:
    """What was only rehearsed ended before it was commanded."""
    one = begin(ESPHOME)
    one.wait(LONG_S)
    one.rehearse(True)
    one.press(ESPHOME.name, on=True)
    one.fire("cold", at_once=True)
    one.rehearse(False)
    one.end("cold", at_once=True)
    one.wait(LONG_S)
    assert level(one) == 1

"""Leases and guards of an output, on a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.commands import Command
from contract.errors import PayloadError
from firmware.pins import Output, keepalive_s, refused

S = 1000  # milliseconds in a second


class Pin:
    """An output and the values that its hardware was set to."""

    def __init__(self, **config: object) -> None:
        self.driven: list[float] = []
        self.output = Output("red", {"gpio": 4, **config}, self.driven.append, 0)

    def state(self) -> tuple[float, str, int]:
        """Return value, why and seq as they would be reported."""
        state = self.output.state()
        assert state.value == self.driven[-1]
        return state.value, state.why, state.seq


def command(value: float, seq: int = 1, ttl_s: int = 60, epoch: str = "e", force: bool = False) -> Command:
    """Return a command."""
    return Command(value, seq, epoch, ttl_s, force=force)


def test_a_pin_has_its_boot_value_from_the_start():
    """Before anybody says anything."""
    assert Pin(boot=1).state() == (1, "boot", 0)
    assert Pin(safe=1).state() == (1, "boot", 0)


def test_a_lease_lasts_as_long_as_it_says():
    """To the millisecond; a renewal counts from its own receipt."""
    pin = Pin()
    assert pin.output.command(command(1, 1, 10), False, 0)
    assert pin.output.command(command(1, 2, 10), False, 5 * S)
    assert not pin.output.tick(15 * S - 1, 0)
    assert pin.state() == (1, "command", 2)
    assert pin.output.tick(15 * S, 0)
    assert pin.state() == (0, "expired", 2)
    assert pin.driven == [0, 1, 0]


def test_a_pin_with_hold_keeps_its_value():
    """Neither the lease's end nor a lost link moves it."""
    pin = Pin(hold=True)
    pin.output.command(command(1, 1, 1), False, 0)
    assert not pin.output.tick(1000 * S, 1000)
    assert pin.state() == (1, "command", 1)


def test_a_pin_with_hold_is_kept_while_a_restart_would_switch_it():
    """The device does not restart for want of a broker then."""
    pin = Pin(hold=True)
    assert not pin.output.is_kept()
    pin.output.command(command(1, 1, 1), False, 0)
    assert pin.output.is_kept()
    pin.output.release(1)
    assert not pin.output.is_kept()
    other = Pin()
    other.output.command(command(1, 1, 1), False, 0)
    assert not other.output.is_kept()


def test_a_lost_link_ends_the_lease():
    """When it comes back, the same command is not followed again; a newer one is."""
    pin = Pin(link_lost_s=5)
    pin.output.command(command(1, 1), False, 0)
    assert not pin.output.tick(5 * S, 4.9)
    assert pin.output.tick(5 * S, 5)
    assert not pin.output.tick(6 * S, 6)
    assert pin.state() == (0, "link-lost", 1)
    assert not pin.output.command(command(1, 1), False, 7 * S)
    assert pin.output.command(command(1, 2), False, 7 * S)
    assert pin.state() == (1, "command", 2)


def test_a_link_that_may_not_be_lost_at_all_still_lets_the_pin_work():
    """`link_lost_s` 0: safe at the first moment without a broker, but not with one."""
    pin = Pin(link_lost_s=0)
    pin.output.command(command(1), False, 0)
    assert not pin.output.tick(1, 0)
    assert pin.output.tick(2, 0.001)


def test_a_retained_command_counts_only_when_it_is_safe():
    """Unless the pin trusts what is retained."""
    pin = Pin()
    assert not pin.output.command(command(1, 5), True, 0)
    assert pin.state() == (0, "boot", 0)
    assert pin.output.command(command(0, 6), True, 0)
    assert pin.state() == (0, "command", 6)
    trusting = Pin(trust_retained=True)
    assert trusting.output.command(command(1, 5), True, 0)
    assert trusting.state() == (1, "command", 5)


def test_seq_is_compared_within_an_epoch_only():
    """A new database counts from anew; a bare number has no seq and always counts."""
    pin = Pin()
    assert pin.output.command(command(1, 5), False, 0)
    assert not pin.output.command(command(0, 5), False, 0)
    assert not pin.output.command(command(0, 4), False, 0)
    assert pin.output.command(command(0, 1, epoch="f"), False, 0)
    assert pin.output.command(Command(1), False, 0)
    assert pin.output.command(Command(0), False, 0)
    assert pin.state() == (0, "command", 0)


def test_released_means_the_default():
    """Told once; told again it is no news."""
    pin = Pin(default=1, safe=0)
    pin.output.command(command(0), False, 0)
    assert pin.output.release(1)
    assert pin.state() == (1, "released", 1)
    assert not pin.output.release(2)
    assert not pin.output.tick(3, 0)


@pytest.mark.parametrize(("value", "config"), [(2, {}), (-1, {}), (0.5, {}), (101, {"pwm_hz": 50, "max": 100})])
def test_a_value_outside_the_range_is_refused(value: float, config: dict[str, object]):
    """The pin stays what it is, and its lease is not renewed."""
    pin = Pin(**config)
    pin.output.command(command(1, 1, 10), False, 0)
    with pytest.raises(PayloadError) as refused:
        pin.output.command(command(value, 2), False, 5 * S)
    assert refused.value.reason == "range"
    assert pin.output.tick(10 * S, 0)
    assert pin.state() == (0, "expired", 1)


def test_a_pump_rests_between_two_runs():
    """min_off_s and min_on_s delay what is wanted; the state says `guard` meanwhile."""
    pin = Pin(min_on_s=10, min_off_s=20)
    assert pin.output.command(command(1, 1, 1000), False, 5 * S)
    assert pin.state() == (0, "guard", 1)
    assert not pin.output.tick(19 * S, 0)
    assert pin.output.tick(20 * S, 0)
    assert pin.state() == (1, "command", 1)
    assert pin.output.release(21 * S)
    assert pin.state() == (1, "guard", 1)
    assert pin.output.tick(30 * S, 0)
    assert pin.state() == (0, "released", 1)


def test_nothing_delays_safety():
    """A lease that ends and a lost link switch off at once, whatever min_on_s says."""
    for lease_s, down_s, end in ((5, 0, "expired"), (50, 2, "link-lost")):
        pin = Pin(min_on_s=100, link_lost_s=2)
        pin.output.command(command(1, 1, lease_s), False, 0)
        assert pin.output.tick(5 * S, down_s)
        assert pin.state() == (0, end, 1)


def test_an_emergency_stop_does_not_wait_for_min_on():
    """Forced towards safe: at once, also when an unforced one waits already; a pause counts from there."""
    pin = Pin(min_on_s=100, min_off_s=50)
    pin.output.command(command(1, 1), False, 50 * S)
    assert pin.output.command(command(0, 2), False, 51 * S)
    assert pin.state() == (1, "guard", 2)
    assert pin.output.command(command(0, 3, force=True), False, 52 * S)
    assert pin.state() == (0, "command", 3)
    pin.output.command(command(1, 4), False, 53 * S)
    assert not pin.output.tick(102 * S - 1, 0)
    assert pin.output.tick(102 * S, 0)
    assert pin.state() == (1, "command", 4)


def test_a_fan_whose_safe_value_is_on_is_forced_on():
    """Safe is what the pin says, not 0."""
    pin = Pin(safe=1, boot=0, min_off_s=100)
    assert pin.output.command(command(1, 1, force=True), False, 1 * S)
    assert pin.state() == (1, "command", 1)


def test_force_passes_nothing_but_the_pause_before_the_safe_value():
    """Not min_off_s for another value, not max_on_s, not an older seq, not what is retained."""
    pin = Pin(min_off_s=20, max_on_s=10)
    assert pin.output.command(command(1, 1, 500, force=True), False, 1 * S)
    assert pin.state() == (0, "guard", 1)
    assert pin.output.tick(20 * S, 0)
    assert not pin.output.command(command(0, 1, force=True), False, 21 * S)
    assert pin.output.tick(30 * S, 0)
    pin.output.command(command(1, 2, 500, force=True), False, 60 * S)
    assert pin.state() == (0, "guard", 2)
    assert not Pin().output.command(command(1, 1, force=True), True, 0)


@pytest.mark.parametrize(("lease_s", "down_s", "end"), [(10, 0, "expired"), (300, 60, "link-lost")])
def test_a_released_pin_that_min_on_s_holds_is_on_no_longer_than_it_was_allowed(lease_s: int, down_s: int, end: str):
    """To release must not lengthen what the lease and the link bounded."""
    pin = Pin(min_on_s=600)
    pin.output.command(command(1, 1, lease_s), False, 0)
    assert pin.output.release(5 * S)
    assert pin.state() == (1, "guard", 1)
    assert pin.output.tick(10 * S, down_s)
    assert pin.state() == (0, end, 1)


def test_the_keepalive_is_no_longer_than_the_strictest_pin_may_wait_for_a_silent_link():
    """A cable that is pulled is noticed by a ping only; pins that hold do not care, and 1 s is the shortest."""
    pins = {"a": {"link_lost_s": 30}, "b": {"link_lost_s": 3.5}, "c": {"link_lost_s": 1, "hold": True}, "d": {}}
    assert keepalive_s(20, pins) == 3
    assert keepalive_s(2, pins) == 2
    assert keepalive_s(20, {"a": {"link_lost_s": 0}}) == 1
    assert keepalive_s(20, {}) == 20


def test_a_released_pin_that_has_gone_to_its_default_stays_released():
    """The lease that bounded min_on_s means nothing any more."""
    pin = Pin(min_on_s=10)
    pin.output.command(command(1, 1, 20), False, 0)
    pin.output.release(5 * S)
    assert pin.output.tick(10 * S, 0)
    assert not pin.output.tick(20 * S, 0)
    assert pin.state() == (0, "released", 1)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("max_on", "max_on_s"), ("linklost_s", "link_lost_s"), ("Safe", "safe"), ("activelow", "active_low")],
)
def test_a_misspelt_key_of_a_pin_is_refused_with_the_nearest(key: str, nearest: str):
    """A guard that nobody reads protects nothing."""
    wrong = refused({"green": {"gpio": 5}, "red": {"gpio": 4, key: 10}})
    assert wrong.startswith(f"pins.red.{key}: ")
    assert wrong.endswith(f" {nearest}")


@pytest.mark.parametrize("key", ["exclusive_with", "max_switches_per_h"])
def test_a_guard_that_the_device_does_not_keep_is_refused(key: str):
    """Rather than taken and not kept."""
    assert f"pins.red.{key}" in refused({"red": {"gpio": 4, key: 3}})


def test_every_key_that_is_documented_is_taken():
    """And nothing else is wrong with them."""
    keys = "gpio safe boot default min max pwm_hz active_low link_lost_s hold trust_retained set_topic map"
    guards = "min_on_s min_off_s max_on_s"
    assert refused({"red": dict.fromkeys((keys + " " + guards).split(), 0)}) == ""


def test_a_pin_that_was_on_too_long_stays_off_until_somebody_asks_for_off():
    """max_on_s; renewals of the same command do not switch it on again."""
    pin = Pin(max_on_s=10)
    pin.output.command(command(1, 1), False, 0)
    assert pin.output.tick(10 * S, 0)
    assert pin.state() == (0, "guard", 1)
    assert pin.output.command(command(1, 2), False, 11 * S)
    assert pin.state() == (0, "guard", 2)
    assert pin.output.command(command(0, 3), False, 12 * S)
    assert pin.output.command(command(1, 4), False, 13 * S)
    assert pin.state() == (1, "command", 4)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("command"), st.integers(0, 1), st.integers(0, 20), st.integers(1, 30)),
        st.tuples(st.just("retained"), st.integers(0, 1), st.integers(0, 20), st.integers(1, 30)),
        st.tuples(st.just("release")),
        st.tuples(st.just("pass"), st.integers(1, 20), st.booleans()),
    ),
    max_size=40,
)


@given(EVENTS, st.sampled_from([{}, {"max_on_s": 25}, {"min_off_s": 3}, {"min_on_s": 7, "default": 1}]))
def test_whatever_happens_a_pin_is_on_only_while_it_may_be(events: list[tuple], config: dict[str, object]):
    """On means: a lease that runs, a link that was lost less than link_lost_s ago, and no longer than max_on_s."""
    pin = Pin(link_lost_s=12, **config)
    now_ms = down_ms = on_ms = 0
    lease_ms = -1
    top_seq = 0
    for kind, *rest in events:
        value = pin.output.value
        if kind != "pass":
            down_ms = 0  # it came over the link
        if kind in ("command", "retained"):
            told = pin.output.command(command(rest[0], rest[1], rest[2]), kind == "retained", now_ms)
            if told:
                lease_ms = now_ms + rest[2] * S
                assert rest[1] == 0 or rest[1] > top_seq
                top_seq = rest[1]
            assert told or pin.output.value == value
            assert kind != "retained" or pin.output.value == value or pin.output.value == 0
        elif kind == "release":
            pin.output.release(now_ms)
        else:
            now_ms += rest[0] * S
            down_ms = 0 if rest[1] else down_ms + rest[0] * S
            pin.output.tick(now_ms, down_ms / S)
        on_ms = on_ms if pin.output.value and value else now_ms
        state = pin.output.state()
        if state.value and state.why == "command":
            assert now_ms < lease_ms or kind in ("command", "retained", "release")
            assert down_ms < 12 * S
        if kind == "pass" and down_ms >= 12 * S:
            assert state.value == 0
        if kind == "pass" and "max_on_s" in config and state.value:
            assert now_ms - on_ms < 25 * S

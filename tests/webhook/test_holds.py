"""Guards between claims and commands, in a real database: what waits, what passes by itself, what survives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contract.topics import Topics
from tests.webhook.desk import NOW_S, notice
from webhook.arbiter import PERSON, Claim
from webhook.claims import Claims
from webhook.commands import Commands, Pin, PinCommand
from webhook.database import Database
from webhook.dialects import RESOLVED, UNKNOWN
from webhook.guards import Limits
from webhook.holds import Holds
from webhook.observed import Observed, Reported

MAIN, BACK = ("pump", "main"), ("pump", "back")
LEASE_S = 300


@dataclass
class Guarded:
    """A webhook without its connections, and the time."""

    path: Path
    limits: dict[Pin, Limits]
    now_s: float = NOW_S
    heard: bool = True
    foreign: dict[Pin, dict[str, object]] = field(default_factory=dict)

    def open(self) -> "Guarded":
        self.database = Database(self.path)
        self.observed = Observed(Topics(), lambda _device: None)
        self.observed.pins["pump"] = {"main": {"safe": 0}, "back": {"safe": 0}}
        self.observed.status["pump"] = "online"
        self.commands = Commands(self.database, LEASE_S)
        self.holds = Holds(
            self.database,
            self.commands,
            self.observed,
            self.limits,
            LEASE_S,
            heard=lambda: self.heard,
            foreign=lambda pin: self.foreign.get(pin, {}),
        )
        self.claims = Claims(self.database, self.commands, self.observed.safe, {}, 300, holds=self.holds)
        return self

    def restart(self) -> None:
        self.database.close()
        self.open()

    def fire(self, name: str, pin: Pin = MAIN, value: float = 1, slot: str = "") -> list[PinCommand]:
        said = notice(starts_at=NOW_S, fingerprint=name, actuate=f"{'/'.join(pin)}={value}", slot=slot)
        return self.claims.notify([said], self.now_s)[1]

    def end(self, name: str, pin: Pin = MAIN, status: str = RESOLVED) -> list[PinCommand]:
        said = notice(status, NOW_S, name, f"{'/'.join(pin)}=1")
        return self.claims.notify([said], self.now_s)[1]

    def later(self, seconds: float) -> list[PinCommand]:
        """Let time pass, the guards look, and return what they send."""
        self.now_s += seconds
        return self.claims.look_again(self.now_s)

    def report(self, pin: Pin, value: float) -> None:
        self.observed.reported[pin] = Reported(value, 1, "command", self.now_s, self.now_s)

    def value(self, pin: Pin = MAIN) -> float | None:
        command = self.commands.of(pin)
        return command.value if command else None

    def held(self, pin: Pin = MAIN) -> tuple[str, float | None] | None:
        """Return the guard that holds the pin back and when that passes, in seconds from now."""
        waiting = self.holds.of(pin)
        return waiting and (waiting.by, None if waiting.until_s is None else waiting.until_s - self.now_s)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    opened: list[Guarded] = []

    def make(main: Limits, back: Limits = Limits()) -> Guarded:  # noqa: B008  (frozen)
        opened.append(Guarded(tmp_path / "claims.db", {MAIN: main, BACK: back}).open())
        return opened[-1]

    yield make
    for one in opened:
        one.database.close()


def test_a_compressor_runs_its_minimum_and_then_stops_by_itself(guarded: Callable[..., Guarded]) -> None:
    """The release waits, its lease ends with the wait, and the log says why."""
    pump = guarded(Limits(min_on_s=180))
    pump.fire("cold")
    pump.now_s += 30
    assert pump.end("cold") == []
    assert (pump.value(), pump.held()) == (1, ("min_on_s", 150))
    renewed = pump.claims.reissue([MAIN], pump.now_s)
    assert [(one.value, one.ttl_s, one.source) for one in renewed] == [(1, 155, "cold")]
    assert pump.later(149) == []
    assert [one.value for one in pump.later(1)] == [None]
    assert pump.held() is None
    assert [(row["value"], row["reason"], row["held_by"]) for row in pump.commands.changes(MAIN, 10)] == [
        (None, "cold: withdrawn; min_on_s passed", ""),
        (None, "cold: withdrawn; held by min_on_s", "min_on_s"),
        (1, "cold: claimed", ""),
    ]


def test_a_pump_rests_and_starts_again_by_itself(guarded: Callable[..., Guarded]) -> None:
    """Repetitions of the alert neither shorten the rest nor fill the log."""
    pump = guarded(Limits(min_off_s=120))
    pump.fire("dry")
    pump.now_s += 10
    pump.end("dry")
    pump.now_s += 20
    assert pump.fire("again") == []
    for _ in range(3):
        pump.now_s += 10
        assert pump.fire("again") == []
    assert (pump.value(), pump.held()) == (None, ("min_off_s", 70))
    assert [row["held_by"] for row in pump.commands.changes(MAIN, 9)] == ["min_off_s", "", ""]
    assert [(one.value, one.source) for one in pump.later(70)] == [(1, "again")]


def test_a_wish_that_ends_while_it_waits_leaves_nothing(guarded: Callable[..., Guarded]) -> None:
    """Nobody wants it any more: it is not switched on later."""
    pump = guarded(Limits(min_off_s=120))
    pump.fire("a")
    pump.end("a")
    pump.fire("b")
    assert pump.held() == ("min_off_s", 120)
    assert pump.end("b") == []
    assert pump.held() is None
    assert pump.later(1000) == []


@pytest.mark.parametrize("restarted", [False, True])
def test_a_run_that_was_too_long_ends_until_nobody_wants_it_any_more(
    guarded: Callable[..., Guarded], restarted: bool
) -> None:
    """As on the device: renewals and other claims do not start it again; also across a restart."""
    pump = guarded(Limits(max_on_s=600))
    pump.fire("a")
    assert pump.later(599) == []
    if restarted:
        pump.restart()
    assert [(one.value, one.slot, one.source) for one in pump.later(1)] == [(0, "alert", "a")]
    if restarted:
        pump.restart()
    pump.fire("b", slot="safety")
    assert (pump.value(), pump.held()) == (0, ("max_on_s", None))
    assert pump.later(7200) == []
    pump.end("a")
    assert pump.held() == ("max_on_s", None)
    pump.end("b")
    assert (pump.value(), pump.held()) == (None, None)
    assert [one.value for one in pump.fire("c")] == [1]


def test_a_pin_starts_no_more_often_than_it_may(guarded: Callable[..., Guarded]) -> None:
    """In any hour, not in any hour of the clock; switching off is never counted against it."""
    pump = guarded(Limits(max_switches_per_h=2))
    for name in ("a", "b"):
        pump.fire(name)
        pump.now_s += 60
        pump.end(name)
        pump.now_s += 60
    assert pump.fire("c") == []
    assert pump.held() == ("max_switches_per_h", 3600 - 240)
    pump.restart()
    assert pump.later(3600 - 241) == []
    assert [one.value for one in pump.later(1)] == [1]


def test_expiry_unknown_ends_and_safety_do_not_wait_for_min_on(guarded: Callable[..., Guarded]) -> None:
    """A minimum run spares a machine; it never keeps one on when nobody is there to stop it."""
    pump = guarded(Limits(min_on_s=3600))
    pump.fire("a")
    pump.now_s += 301
    assert [one.value for one in pump.claims.expire(pump.now_s)] == [None]
    pump.now_s += 10
    pump.fire("b")
    assert [one.value for one in pump.end("b", status=UNKNOWN)] == [0]
    pump.fire("c")
    stop = Claim(*MAIN, PERSON, 0, "safety", "ana", pump.now_s, pump.now_s + 60)
    assert [(one.value, one.slot) for one in pump.claims.hold(stop, pump.now_s)] == [(0, "safety")]


def test_a_person_waits_like_everybody(guarded: Callable[..., Guarded]) -> None:
    """Slot manual wins over alerts, not over guards: on a device's own guards it could not either."""
    pump = guarded(Limits(min_on_s=60))
    pump.fire("a")
    ana = Claim(*MAIN, PERSON, 0, "manual", "ana", pump.now_s, pump.now_s + 600)
    assert pump.claims.hold(ana, pump.now_s) == []
    assert pump.held() == ("min_on_s", 60)
    assert [(one.value, one.source) for one in pump.later(60)] == [(0, "ana")]


EXCLUSIVE = {"main": Limits(exclusive_with=frozenset({BACK})), "back": Limits(exclusive_with=frozenset({MAIN}))}


def test_of_two_exclusive_pins_the_later_waits_until_the_other_is_reported_off(
    guarded: Callable[..., Guarded],
) -> None:
    """Not until its command says off: a relay that sticks keeps the other one off."""
    pump = guarded(**EXCLUSIVE)
    pump.fire("a", MAIN)
    pump.report(MAIN, 1)
    assert pump.fire("b", BACK) == []
    assert (pump.held(BACK), pump.held(MAIN)) == (("exclusive_with", None), None)
    pump.end("a", MAIN)
    written = pump.database.connection.total_changes
    assert (pump.value(MAIN), pump.later(5)) == (None, [])
    assert pump.database.connection.total_changes == written  # looking five times a second costs the disk nothing
    pump.report(MAIN, 0)
    assert [(one.pin, one.value) for one in pump.later(0.2)] == [("back", 1)]


def test_an_exclusive_pin_whose_device_is_away_counts_as_off_when_its_lease_has_ended(
    guarded: Callable[..., Guarded],
) -> None:
    """Nobody waits for ever for a device that is gone."""
    pump = guarded(**EXCLUSIVE)
    pump.fire("a", MAIN)
    pump.report(MAIN, 1)
    pump.observed.status["pump"] = "offline"
    pump.end("a", MAIN)
    pump.fire("b", BACK)
    pump.now_s += LEASE_S - 1
    pump.fire("b", BACK)
    assert pump.value(BACK) is None
    assert [(one.pin, one.value) for one in pump.later(1)] == [("back", 1)]


def test_a_stronger_slot_ends_an_exclusive_pin_and_takes_its_turn(guarded: Callable[..., Guarded]) -> None:
    """First the one goes off, then, when that is reported, the other on; and back when it is over."""
    pump = guarded(**EXCLUSIVE)
    pump.fire("a", MAIN)
    pump.report(MAIN, 1)
    pump.report(BACK, 0)
    ana = Claim(*BACK, PERSON, 1, "manual", "ana", pump.now_s, pump.now_s + 600)
    assert [(one.pin, one.value) for one in pump.claims.hold(ana, pump.now_s)] == [("main", 0)]
    assert (pump.held(MAIN), pump.held(BACK)) == (("exclusive_with", None), ("exclusive_with", None))
    pump.now_s += 1
    pump.report(MAIN, 0)
    assert [(one.pin, one.value) for one in pump.later(0.2)] == [("back", 1)]
    pump.report(BACK, 1)
    assert [(one.pin, one.value) for one in pump.claims.let_go(BACK, pump.now_s)] == [("back", None)]
    pump.now_s += 1
    pump.report(BACK, 0)
    assert [(one.pin, one.value) for one in pump.later(0.2)] == [("main", 1)]


def test_a_stronger_wish_that_its_own_guards_hold_back_stops_nobody(guarded: Callable[..., Guarded]) -> None:
    """Its turn comes when it could run."""
    pump = guarded(EXCLUSIVE["main"], Limits(min_off_s=60, exclusive_with=frozenset({MAIN})))
    pump.fire("b", BACK)
    pump.report(BACK, 1)
    pump.end("b", BACK)
    pump.now_s += 1
    pump.report(BACK, 0)
    assert [one.value for one in pump.fire("a", MAIN)] == [1]
    ana = Claim(*BACK, PERSON, 1, "manual", "ana", pump.now_s, pump.now_s + 600)
    assert pump.claims.hold(ana, pump.now_s) == []
    assert pump.value(MAIN) == 1
    pump.report(MAIN, 1)
    assert [(one.pin, one.value) for one in pump.later(60)] == [("main", 0)]


def test_two_alerts_that_want_both_switch_one(guarded: Callable[..., Guarded]) -> None:
    """In one body or two: never both, and always one."""
    pump = guarded(**EXCLUSIVE)
    said = [notice(fingerprint=pin[1], actuate=f"{'/'.join(pin)}=1") for pin in (BACK, MAIN)]
    commands = pump.claims.notify(said, pump.now_s)[1]
    assert [(one.pin, one.value) for one in commands] == [("back", 1)]
    assert pump.held(MAIN) == ("exclusive_with", None)


def test_an_exclusive_pin_waits_until_the_broker_has_been_heard(guarded: Callable[..., Guarded]) -> None:
    """The other may be on: a hand at its button, or a database that was lost. Both must not be on even for a moment."""
    pump = guarded(EXCLUSIVE["main"], EXCLUSIVE["back"])
    pump.heard = False
    pump.fire("a")
    assert (pump.value(), pump.held()) == (None, ("exclusive_with", None))
    pump.report(BACK, 1)
    pump.heard = True
    assert pump.later(1) == []
    pump.report(BACK, 0)
    assert [one.value for one in pump.later(1)] == [1]


def test_a_trip_is_not_forgiven_because_somebody_wants_it_off_for_a_moment(guarded: Callable[..., Guarded]) -> None:
    """A float switch that chatters would let the pump run for ever; once nobody wants it on, a claim starts it."""
    pump = guarded(Limits(max_on_s=600))
    pump.fire("a")
    pump.later(601)
    pump.fire("dry", value=0, slot="safety")
    pump.later(1)
    pump.end("dry")
    assert (pump.value(), pump.held()) == (0, ("max_on_s", None))
    pump.fire("dry again", value=0, slot="safety")
    pump.end("a")
    pump.end("dry again")
    pump.fire("b")
    assert (pump.value(), pump.held()) == (1, None)


def test_guards_of_other_firmware_hold_before_its_device_has_told(guarded: Callable[..., Guarded]) -> None:
    """It keeps none itself: after a restart while the broker is away its compressor must not start too soon either."""
    pump = guarded(Limits())
    pump.foreign[MAIN] = {"min_off_s": 600}
    pump.fire("a")
    pump.end("a")
    pump.restart()
    pump.observed.pins.clear()
    pump.fire("b")
    assert (pump.value(), pump.held()) == (None, ("min_off_s", 600))


def test_what_a_device_declared_holds_also_before_it_tells_again(guarded: Callable[..., Guarded]) -> None:
    """After a restart, with a broker that is away or has lost the info."""
    pump = guarded(Limits())
    pump.observed.pins["pump"] = {"main": {"safe": 0, "min_off_s": 600}, "back": {"safe": 2, "max_on_s": 900}}
    pump.fire("dry")
    pump.fire("wet", BACK)
    pump.end("dry")
    for name in ("again", "once more"):
        pump.restart()
        pump.observed.pins.clear()
        pump.fire(name)
        assert (pump.value(), pump.held()) == (None, ("min_off_s", 600))
    pump.later(600)
    assert (pump.value(), pump.held()) == (1, None)
    pump.later(300)
    assert (pump.value(BACK), pump.held(BACK)) == (2, ("max_on_s", None))


def test_what_a_device_declares_no_more_is_forgotten(guarded: Callable[..., Guarded]) -> None:
    """What it says now counts, also after the next restart."""
    pump = guarded(Limits())
    pump.observed.pins["pump"]["main"]["min_off_s"] = 600
    pump.fire("dry")
    pump.end("dry")
    del pump.observed.pins["pump"]["main"]["min_off_s"]
    pump.fire("again")
    assert pump.value() == 1
    pump.end("again")
    pump.restart()
    pump.observed.pins.clear()
    pump.fire("once more")
    assert pump.value() == 1


def test_pins_that_become_exclusive_while_both_are_on_are_separated(guarded: Callable[..., Guarded]) -> None:
    """A changed pins file counts for what runs, too."""
    pump = guarded(Limits())
    pump.fire("a", MAIN)
    pump.fire("b", BACK)
    pump.limits.update({MAIN: EXCLUSIVE["main"], BACK: EXCLUSIVE["back"]})
    pump.restart()
    pump.claims.adopt(pump.now_s)
    assert {pump.value(MAIN), pump.value(BACK)} == {0, 1}


def test_limits_that_a_device_declares_count_without_a_file(guarded: Callable[..., Guarded]) -> None:
    """Other firmware has nobody else to keep them."""
    pump = guarded(Limits())
    pump.observed.pins["pump"]["main"]["min_off_s"] = 30
    pump.fire("a")
    pump.end("a")
    pump.fire("b")
    assert pump.held() == ("min_off_s", 30)


@pytest.mark.parametrize(("limit", "last"), [("min_off_s", "b"), ("max_on_s", "a")])
def test_what_waits_for_a_declared_limit_waits_for_its_time_also_before_its_device_tells_again(
    guarded: Callable[..., Guarded], limit: str, last: str
) -> None:
    """After a restart while the broker is away; a trip and a pause outlive that."""
    pump = guarded(Limits())
    pump.observed.pins["pump"]["main"] = {"safe": 0, limit: 30}
    pump.fire("a")
    if limit == "min_off_s":
        pump.end("a")
        pump.fire("b")
    pump.later(31 if limit == "max_on_s" else 1)
    assert (pump.held() or ("none",))[0] == limit
    pump.restart()
    pump.observed.pins.clear()
    assert pump.later(28) == []
    assert pump.fire(last) == []
    assert (pump.held() or ("none",))[0] == limit
    pump.later(1)
    assert pump.value() == (1 if limit == "min_off_s" else 0)


def test_a_limit_that_is_taken_away_holds_nothing_any_more(guarded: Callable[..., Guarded]) -> None:
    """What waited passes at the next start."""
    pump = guarded(Limits(min_off_s=3600))
    pump.fire("a")
    pump.end("a")
    pump.fire("b")
    pump.limits[MAIN] = Limits()
    pump.restart()
    assert [one.value for one in pump.later(0)] == [1]
    assert pump.holds.waiting() == {}


def test_what_is_switched_just_after_the_clock_was_set_forward_is_not_moved_into_the_future(
    guarded: Callable[..., Guarded],
) -> None:
    """The step is noticed 0.2 s later: a pin must not have to stay on for a day because of it."""
    pump = guarded(Limits(min_on_s=60, max_switches_per_h=1))
    pump.fire("a")
    pump.claims.shift(86400, pump.now_s)
    pump.later(60)
    pump.end("a")
    pump.fire("b")
    assert (pump.value(), pump.held()) == (None, ("max_switches_per_h", 3540))


def test_a_clock_that_is_set_moves_what_waits(guarded: Callable[..., Guarded]) -> None:
    """A rest lasts as long as before."""
    pump = guarded(Limits(min_off_s=120))
    pump.fire("a")
    pump.end("a")
    pump.fire("b")
    pump.claims.shift(-86400)
    pump.now_s -= 86400
    assert pump.later(0) == []
    assert pump.held() == ("min_off_s", 120)
    assert [one.value for one in pump.later(120)] == [1]

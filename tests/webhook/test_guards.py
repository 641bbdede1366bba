"""Guards, pure: what holds a wish back, and until when."""

from dataclasses import replace
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.guards import (
    EXCLUSIVE,
    MAX_ON,
    MAX_SWITCHES,
    MIN_OFF,
    MIN_ON,
    QUIET,
    Hold,
    Limits,
    Past,
    Quiet,
    Rival,
    held_back,
    limits_declared,
    look_again_s,
    may_be_on,
    stricter,
)

NOW_S = 1_800_000_000.0
ALL = Limits(min_on_s=60, min_off_s=120, max_on_s=900, max_switches_per_h=3)
NIGHT = Quiet(time(22), time(7), ZoneInfo("Europe/Madrid"))
RIVAL = Rival(("pump", "back"))


def on(seconds: float, starts_s: tuple[float, ...] = ()) -> Past:
    return Past(True, NOW_S - seconds, starts_s)


def off(seconds: float, starts_s: tuple[float, ...] = (), tripped: bool = False) -> Past:
    return Past(False, NOW_S - seconds, starts_s, tripped)


@pytest.mark.parametrize(
    ("wanted_on", "past", "hold"),
    [
        (False, on(59), Hold(MIN_ON, NOW_S + 1, on=True)),
        (False, on(60), None),
        (False, off(1), None),
        (True, on(59), None),
        (True, off(119), Hold(MIN_OFF, NOW_S + 1, on=False)),
        (True, off(120), None),
        (True, Past(False), None),
        (True, on(899), None),
        (True, on(900), Hold(MAX_ON, None, on=False)),
        (True, off(9999, tripped=True), Hold(MAX_ON, None, on=False)),
        (False, off(1, tripped=True), None),
        (True, off(200, starts_s=(NOW_S - 3000, NOW_S - 900, NOW_S - 300)), Hold(MAX_SWITCHES, NOW_S + 600, on=False)),
        (True, off(200, starts_s=(NOW_S - 3600, NOW_S - 900, NOW_S - 300)), None),
        (True, on(10, starts_s=(NOW_S - 3000, NOW_S - 900, NOW_S - 10)), None),
    ],
)
def test_a_wish_waits_as_long_as_its_guard_says(wanted_on: bool, past: Past, hold: Hold | None) -> None:
    """To the second, and never for what the pin is already."""
    assert held_back(wanted_on, past, ALL, NOW_S) == hold


def test_without_limits_everything_passes() -> None:
    """In every state."""
    for past in (Past(False), on(0), off(0)):
        assert held_back(True, past, Limits(), NOW_S) is None
        assert held_back(False, past, Limits(), NOW_S) is None


def test_what_is_urgent_passes_what_only_spares_machines_and_neighbours() -> None:
    """Never a trip, never an exclusion."""
    nightly = replace(ALL, quiet=Quiet(time(0), time(23, 59), ZoneInfo("UTC")))
    full = (NOW_S - 30, NOW_S - 20, NOW_S - 10)
    assert held_back(False, on(1), nightly, NOW_S, urgent=True) is None
    assert held_back(True, off(1, starts_s=full), nightly, NOW_S, urgent=True) is None
    assert held_back(True, off(1, tripped=True), nightly, NOW_S, urgent=True) == Hold(MAX_ON, None, on=False)
    assert held_back(True, off(1), nightly, NOW_S, urgent=True, rival=RIVAL) == Hold(EXCLUSIVE, None, on=False)


def test_a_rival_waits_for_min_on_unless_it_is_safety() -> None:
    """A machine that must not stop yet is stopped by safety only."""
    assert held_back(True, on(59), ALL, NOW_S, rival=RIVAL) is None
    assert held_back(True, on(60), ALL, NOW_S, rival=RIVAL) == Hold(EXCLUSIVE, None, on=False)
    assert held_back(True, on(1), ALL, NOW_S, rival=Rival(RIVAL.pin, safety=True)) == Hold(EXCLUSIVE, None, on=False)


def test_a_run_that_is_too_long_ends_although_it_must_not_stop_yet() -> None:
    """max_on_s is damage, min_on_s is wear."""
    limits = Limits(min_on_s=1000, max_on_s=900)
    assert held_back(False, on(950), limits, NOW_S) is None
    assert held_back(True, on(950), limits, NOW_S) == Hold(MAX_ON, None, on=False)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Madrid")).timestamp()


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        ("2026-11-20T21:59:59", None),
        ("2026-11-20T22:00:00", "2026-11-21T07:00:00"),
        ("2026-11-21T06:59:59", "2026-11-21T07:00:00"),
        ("2026-11-21T07:00:00", None),
        ("2026-03-28T23:00:00", "2026-03-29T07:00:00"),  # the clock is set ahead in this night
        ("2026-10-24T23:00:00", "2026-10-25T07:00:00"),  # and back in this one
    ],
)
def test_quiet_hours_are_hours_of_their_zone(now: str, ends: str | None) -> None:
    """Across midnight, and in the nights when the clock is changed."""
    assert NIGHT.until_s(at(now)) == (at(ends) if ends else None)


CHANGES = (at("2026-03-29T03:00:00"), at("2026-10-25T02:00:00") + 3600)


@given(
    st.floats(1_700_000_000, 1_900_000_000)
    | st.builds(float.__add__, st.sampled_from(CHANGES), st.floats(-90_000, 90_000)),
    st.times(),
    st.times(),
)
def test_quiet_hours_turn_when_the_clock_says_so(now_s: float, begins: time, ends: time) -> None:
    """Neither later nor earlier, also in the nights in which a time of day comes twice or never."""
    if begins == ends:
        return
    quiet = Quiet(begins.replace(fold=0), ends.replace(fold=0), ZoneInfo("Europe/Madrid"))
    until_s = quiet.until_s(now_s)
    turn_s = quiet.begins_s(now_s) if until_s is None else until_s
    inside = [quiet.until_s(now_s + (turn_s - now_s) * part / 100) is not None for part in range(100)]
    assert now_s < turn_s <= now_s + 49 * 3600
    assert inside == [until_s is not None] * 100
    assert (quiet.until_s(turn_s) is None) == inside[0]


@pytest.mark.parametrize(
    ("span", "now", "turns"),
    [
        ((time(2, 30), time(7)), "2026-03-29T01:00:00", "2026-03-29T03:00:00"),  # 02:30 never comes: 03:00 does
        ((time(22), time(2, 30)), "2026-03-29T01:00:00", "2026-03-29T03:00:00"),
        ((time(22), time(2, 30)), "2026-10-24T21:00:00", "2026-10-24T22:00:00"),
    ],
)
def test_a_pin_goes_off_when_quiet_hours_begin_in_an_hour_that_is_left_out(
    span: tuple[time, time], now: str, turns: str
) -> None:
    """Not half an hour later, and what waits is let go when they end."""
    quiet = Quiet(*span, ZoneInfo("Europe/Madrid"))
    assert (quiet.until_s(at(now)) or quiet.begins_s(at(now))) == at(turns)


def test_in_quiet_hours_a_pin_is_off_when_it_may_be() -> None:
    """What begins waits for the morning; what runs ends after its min_on_s."""
    now_s = datetime(2026, 11, 20, 22, 0, tzinfo=UTC).timestamp()
    limits = Limits(min_on_s=60, quiet=NIGHT)
    morning_s = at("2026-11-21T07:00:00")
    assert held_back(True, Past(False), limits, now_s) == Hold(QUIET, morning_s, on=False)
    assert held_back(True, Past(True, now_s - 60), limits, now_s) == Hold(QUIET, morning_s, on=False)
    assert held_back(True, Past(True, now_s - 30), limits, now_s) is None
    assert look_again_s(None, True, now_s - 30, limits, now_s) == now_s + 30


def test_guards_look_again_when_something_can_change_by_itself() -> None:
    """At the end of a hold, of a run, and when quiet hours begin; not otherwise."""
    assert look_again_s(Hold(MIN_OFF, NOW_S + 5, on=False), False, NOW_S, ALL, NOW_S) == NOW_S + 5
    assert look_again_s(Hold(EXCLUSIVE, None, on=False), False, NOW_S, ALL, NOW_S) == 0
    assert look_again_s(Hold(MAX_ON, None, on=False), False, NOW_S, ALL, NOW_S) is None
    assert look_again_s(None, True, NOW_S - 100, ALL, NOW_S) == NOW_S + 800
    assert look_again_s(None, False, NOW_S - 100, ALL, NOW_S) is None
    assert look_again_s(None, True, NOW_S - 100, Limits(quiet=NIGHT), NOW_S) == NIGHT.begins_s(NOW_S)


@pytest.mark.parametrize(
    ("asked_on", "off_since_s", "reported", "online", "lease_s", "maybe"),
    [
        (True, None, (False, NOW_S), True, 300, True),
        (False, NOW_S - 5, (True, NOW_S - 6), True, 300, True),
        (False, NOW_S - 5, (False, NOW_S - 4), True, 300, False),
        (False, NOW_S - 5, (False, NOW_S - 6), True, 300, True),  # what it said before it was switched on
        (False, NOW_S - 5, None, True, 300, True),
        (False, NOW_S - 301, (True, NOW_S - 400), True, 300, True),  # it is there and says on
        (False, NOW_S - 301, (True, NOW_S - 400), False, 300, False),
        (False, NOW_S - 301, (False, NOW_S - 400), True, 300, False),  # it is there, and never said on
        (False, NOW_S - 301, None, False, 300, False),
        (False, NOW_S - 301, None, False, None, True),  # holds its value without a lease
        (False, None, None, False, 300, False),
        (False, None, (True, NOW_S), True, 300, True),
        (False, None, (True, NOW_S), False, 300, False),
        (False, None, (True, NOW_S), False, None, True),
    ],
)
def test_a_pin_may_be_on_until_it_is_reported_off_or_its_lease_must_have_ended(
    asked_on: bool, off_since_s: float | None, reported: tuple[bool, float] | None, online: bool,
    lease_s: float | None, maybe: bool,
) -> None:  # fmt: skip
    """A device that is away ends by its lease; one that holds its value never does."""
    assert may_be_on(asked_on, off_since_s, reported, online, lease_s, NOW_S) is maybe


def test_of_two_limits_the_stricter_counts() -> None:
    """Whoever says it; 0 is no limit."""
    device = limits_declared({"min_on_s": 10, "max_on_s": 600, "max_switches_per_h": 6, "gpio": 4})
    ours = Limits(min_on_s=5, min_off_s=7, max_switches_per_h=4, exclusive_with=frozenset({RIVAL.pin}), quiet=NIGHT)
    assert stricter(ours, device) == Limits(10, 7, 600, 4, frozenset({RIVAL.pin}), NIGHT)
    assert stricter(replace(ours, max_on_s=900), device).max_on_s == 600
    assert stricter(replace(ours, max_on_s=300), device).max_on_s == 300

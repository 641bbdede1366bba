"""Daily windows: past midnight, and in the nights in which the clocks change."""

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.daily import active_since, next_change
from rules.model import Daily

MADRID = ZoneInfo("Europe/Madrid")


def daily(at: str, lasts_h: float, tz: ZoneInfo = MADRID) -> Daily:
    return Daily(time.fromisoformat(at), lasts_h * 3600, tz)


def moment(text: str) -> float:
    """Return seconds since 1970 of an ISO time with its offset."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("now", "open"),
    [
        ("2026-06-10T17:59:59.999+02:00", False),
        ("2026-06-10T18:00:00+02:00", True),
        ("2026-06-10T23:59:59+02:00", True),
        ("2026-06-11T01:59:59+02:00", True),
        ("2026-06-11T02:00:00+02:00", False),
        ("2026-12-31T23:30:00+01:00", True),
        ("2027-01-01T01:30:00+01:00", True),
    ],
)
def test_a_window_may_last_past_midnight(now: str, open: bool):  # noqa: A002
    """18:00 for eight hours; its end is outside."""
    assert (active_since(daily("18:00", 8), moment(now)) is not None) == open


def test_it_follows_the_clocks_of_its_zone_through_summer_and_winter():
    """18:00 is 16:00 UTC in July and 17:00 UTC in January."""
    for now, began in (
        ("2026-07-01T19:00+02:00", "2026-07-01T16:00+00:00"),
        ("2026-01-01T19:00+01:00", "2026-01-01T17:00+00:00"),
    ):
        assert active_since(daily("18:00", 5.5), moment(now)) == moment(began)


def test_a_window_over_the_change_lasts_as_long_as_on_every_other_night():
    """From 23:00 for four hours: until 04:00 in spring (02:00 becomes 03:00), until 02:00 the second time in autumn."""
    spring, autumn = moment("2026-03-28T23:30+01:00"), moment("2026-10-24T23:30+02:00")
    assert next_change(daily("23:00", 4), spring) == moment("2026-03-29T04:00+02:00")
    assert next_change(daily("23:00", 4), autumn) == moment("2026-10-25T02:00+01:00")


def test_a_start_that_the_clocks_skip_comes_as_much_later_as_they_jump():
    """There is no 02:30 on 2026-03-29 in Madrid."""
    assert active_since(daily("02:30", 1), moment("2026-03-29T03:29:59+02:00")) is None
    assert active_since(daily("02:30", 1), moment("2026-03-29T03:30+02:00")) == moment("2026-03-29T03:30+02:00")


def test_a_start_that_the_clocks_show_twice_is_the_first():
    """02:30 comes twice on 2026-10-25: one window, not two."""
    window = daily("02:30", 0.5)
    assert active_since(window, moment("2026-10-25T02:30+02:00")) is not None
    assert active_since(window, moment("2026-10-25T02:30+01:00")) is None


def test_a_window_of_24_hours_is_open_but_for_the_extra_hour_of_autumn():
    """The length is real time, and that day has 25 hours."""
    window = daily("02:30", 24)
    assert active_since(window, moment("2026-06-10T02:29+02:00")) is not None
    assert active_since(window, moment("2026-06-10T02:30+02:00")) is not None
    assert active_since(window, moment("2026-10-26T02:00+01:00")) is None


ZONES = ["Europe/Madrid", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "UTC"]


@given(
    st.times(timezones=st.none()).map(lambda at: at.replace(second=0, microsecond=0)),
    st.integers(60, 86400),
    st.sampled_from(ZONES),
    st.integers(1_262_304_000, 2_000_000_000),
)
def test_nothing_changes_before_the_next_change_and_windows_are_as_long_as_they_should(
    at: time, lasts_s: int, zone: str, wall_s: int
):
    """For any zone and moment, Apia's missing 2011-12-30 too."""
    window = Daily(at, float(lasts_s), ZoneInfo(zone))
    began, change = active_since(window, wall_s), next_change(window, wall_s)
    assert wall_s < change <= wall_s + 2 * 86400 + 3600
    assert (active_since(window, change - 0.5) is None) == (began is None)
    assert (active_since(window, (wall_s + change) / 2) is None) == (began is None)
    if began is not None:
        assert 0 <= wall_s - began < lasts_s

"""Windows of every day: pure functions of the wall clock.

Nothing is remembered: after a restart, a jump of the clock or a change of
summer time the answer is what the clock says now.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from rules.model import Daily

__all__ = ["active_since", "next_change"]


def active_since(daily: Daily, wall_s: float) -> float | None:
    """Return when the window that is open at `wall_s` began, None when none is open (seconds since 1970)."""
    return next((start for start, end in _windows(daily, wall_s) if start <= wall_s < end), None)


def next_change(daily: Daily, wall_s: float) -> float:
    """Return when a window begins or ends next, later than `wall_s` (seconds since 1970)."""
    return min(moment for window in _windows(daily, wall_s) for moment in window if moment > wall_s)


def _windows(daily: Daily, wall_s: float) -> Iterator[tuple[float, float]]:
    """Yield (start, end) of the windows around `wall_s`.

    A start that the clocks skip (02:30 in a spring night) comes as much later as they jump: 03:30. One that they show
    twice is the first. The length is real time: a lamp that lasts 5h30m is lit 5h30m in those nights too.
    """
    today = datetime.fromtimestamp(wall_s, UTC).astimezone(daily.tz).date()
    for days in (-1, 0, 1, 2):  # yesterday's may last past midnight; tomorrow's begins later than every one of today's
        start = datetime.combine(today + timedelta(days=days), daily.at, daily.tz).timestamp()
        yield start, start + daily.lasts_s

"""Clocks: the one that goes on whatever happens to the wall clock, and a wall clock that was put back unseen.

A board without a battery, a wrong RTC: the wall clock is put back while the
webhook is not running. Nobody saw the step, but what was stored last cannot lie
ahead. Left as it is, a `min_on_s` would keep its pin on, and a person's claim
would last, until the clock has caught up; `max_on_s` would count from a moment
that is still to come.
"""

import time

from webhook.claims import Claims
from webhook.database import Database

__all__ = ["follow_back", "steady_s"]

_STEP_S = 2.0
# Times of what has happened, each moved by `Claims.shift`: a step is found once.
_HAPPENED = (
    "SELECT max(at_s) FROM (SELECT max(at_s) AS at_s FROM commands UNION SELECT max(seen_s) FROM alerts"
    " UNION SELECT max(switched_s) FROM guards UNION SELECT max(at_s) FROM starts)"
)


def steady_s() -> float:
    """Return seconds that never jump and go on while the machine sleeps.

    `time.monotonic` stands still then, on Linux: a computer that wakes up would pass for one whose clock was set, and
    a claim for half an hour would go on when the lid is opened, hours later.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def follow_back(database: Database, claims: Claims, now_s: float) -> float:
    """Move what is stored to the clock as it is now; return by how many seconds, 0 when nothing lies ahead of it.

    Called before the first claim is looked at. The time in between is not known: claims and guards go on where they
    were when something was stored last.
    """
    with database.transaction() as connection:
        newest_s = connection.execute(_HAPPENED).fetchone()[0]
        if newest_s is None or newest_s <= now_s + _STEP_S:
            return 0.0
        claims.shift(now_s - newest_s, now_s)
        return float(now_s - newest_s)

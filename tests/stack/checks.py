"""What has to be true of the stack after a fault: every pin right, every acknowledged reading stored, once."""

import collections
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.stack.compose import Stack
from tests.stack.load import Load
from tests.support.wait import until

__all__ = ["EXPECTED", "RIGHT_WITHIN_S", "Recovery", "recovery", "stored", "until_pins"]

RIGHT_WITHIN_S = 10.0
LATE_S = 2.0
EXPECTED = f"pins right within {RIGHT_WITHIN_S:.0f} s, no reading lost or stored twice"


@dataclass(frozen=True)
class Recovery:
    """What was seen after a fault.

    Attributes:
        pins_s, readings_s: seconds until all pins were right, until all acknowledged readings were stored.
        acknowledged, lost: readings; lost ones are excused only while the broker was being killed.
    """

    pins_s: float
    readings_s: float
    acknowledged: int
    lost: int

    def __str__(self) -> str:
        """Return it as a cell of the table."""
        lost = f"{self.lost} lost" if self.lost else "none lost"
        return f"pins {self.pins_s:.1f} s, readings {self.readings_s:.1f} s; of {self.acknowledged} {lost}"


def until_pins(stack: Stack, wanted: Mapping[str, int], timeout_s: float = RIGHT_WITHIN_S) -> None:
    """Wait until the lights are as wanted: on the device's pins, as reported, and as the webhook wishes them."""

    def right() -> bool:
        pins = stack.pins()
        assert pins == wanted, f"pins {pins}"
        wishes = stack.wishes()
        assert wishes == {name: (value, value) for name, value in wanted.items()}, f"webhook: {wishes}"
        return True

    until(right, timeout_s, f"the lights are {wanted}", every_s=0.1)


def stored(stack: Stack, load: Load) -> collections.Counter[int]:
    """Return how often each reading of this load is in the store; the same one at two times would count twice."""
    rows = stack.query(f"SELECT n, boot FROM readings WHERE device = '{load.device}'")  # noqa: S608  (our own words)
    return collections.Counter(int(n) for _, n, boot in rows if boot == load.boot)


def recovery(
    stack: Stack,
    load: Load,
    since_s: float,
    wanted: Mapping[str, int],
    broker_kill_s: tuple[float, float] | None = None,
    pins_within_s: float = RIGHT_WITHIN_S,
) -> Recovery:
    """Wait until everything is right again after a fault that ended at `since_s`, monotonic seconds.

    Args:
        stack, load: what runs.
        since_s: the end of the fault; what was acknowledged until now counts.
        wanted: pin -> value.
        broker_kill_s: between which moments the broker was killed, if it was: what it acknowledged with its last breath
            may be gone with it (docs/stack.md).
        pins_within_s: how long the pins may take.
    """
    until_pins(stack, wanted, since_s + pins_within_s - time.monotonic())
    pins_s = time.monotonic() - since_s
    acknowledged = load.until(time.monotonic())
    first_s, last_s = broker_kill_s or (0.0, 0.0)
    excused = {n for n in acknowledged if first_s <= load.acknowledged_at_s[n] <= last_s}
    acknowledged -= load.forgiven

    def complete() -> bool:
        lost = sorted(acknowledged - excused - set(stored(stack, load)))
        assert not lost, f"{len(lost)} acknowledged readings are not stored: {lost[:10]}"
        return True

    until(complete, RIGHT_WITHIN_S, "every acknowledged reading is stored", every_s=0.1)
    readings_s = time.monotonic() - since_s
    if excused:  # what is only late is not lost
        with contextlib.suppress(AssertionError):
            until(lambda: acknowledged <= set(stored(stack, load)), LATE_S, every_s=0.1)
    counts = stored(stack, load)
    assert not [n for n, count in counts.items() if count > 1], "readings are stored twice"
    lost = acknowledged - set(counts)
    load.forgiven |= lost
    return Recovery(pins_s, readings_s, len(acknowledged), len(lost))

"""One turn of the loop, observed: which step came when.

The turn is watched from outside, through the same interfaces that anybody can
use: the broker, the store and the webhook's API. All clocks are this machine's.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from contract.commands import RELEASED, decode_command, decode_state
from contract.errors import ContractError
from contract.readings import decode_reading
from contract.topics import PIN_SET, PIN_STATE, READING, Topics
from service.mqtt import Message

__all__ = ["STEPS", "Step", "Turn", "Watch"]

STEPS = (
    ("reading published", "a reading above the threshold arrived at the broker"),
    ("reading stored", "the same reading is in the store"),
    ("alert fires", "rules decided that it is too bright"),
    ("claim made", "the webhook holds a claim on the pin for that alert"),
    ("command published", "the retained command came from the broker"),
    ("pin set and reported", "the device set the pin and said so"),
    ("reading falls", "a reading below the clearing threshold arrived"),
    ("alert resolves", "rules decided that it is over"),
    ("pin back to its default", "the device released the pin and said so"),
)


@dataclass(frozen=True)
class Step:
    """A step that was seen.

    Attributes:
        name: one of STEPS.
        at_ms: milliseconds after the turn's first step.
    """

    name: str
    at_ms: float


@dataclass(frozen=True)
class Turn:
    """What was seen of a turn.

    Attributes:
        steps: in the order of STEPS, as far as they came.
        missing: the step that did not come within its deadline, None when all came.
    """

    steps: list[Step]
    missing: str | None


class Watch:
    """Watches for one turn on one sensor and one pin.

    Args:
        sensor_device, sensor: whose readings drive the rule.
        above, below: the rule's thresholds.
        pin_device, pin: what the rule switches to 1.
        stored_at_s: tells when the store had the reading of that value, seconds since 1970, None as long as it has not.
        alerts: returns (starts_at_s, claimed_at_s, resolved_at_s) of the rule's alert, None for what is not yet.
    """

    def __init__(
        self,
        sensor: tuple[str, str],
        above: float,
        below: float,
        pin: tuple[str, str],
        stored: Callable[[float], bool],
        alerts: Callable[[], tuple[float | None, float | None, float | None]],
    ) -> None:
        topics = Topics()
        self.filters = [topics.build(READING, *sensor), topics.build(PIN_SET, *pin), topics.build(PIN_STATE, *pin)]
        self._topics = topics
        self._above = above
        self._below = below
        self._stored = stored
        self._alerts = alerts
        self._seen_at_s: dict[str, float] = {}
        self._low_at_s: float | None = None  # a turn begins low, or its beginning was not seen
        self._trigger: float | None = None
        self._lock = threading.Lock()

    def message(self, message: Message) -> None:
        """Take a message of the broker; runs on the network thread."""
        now_s = time.time()
        if message.retain:
            return
        payload = bytes(message.payload)
        try:
            kind = self._topics.parse(message.topic).kind
            if kind == READING:
                sample = decode_reading("value", payload)
                # The device's own time, if it has one: the broker may serve other subscribers before this one.
                made_s = sample.t_s if sample.t_s is not None and 0 <= now_s - sample.t_s < 1 else now_s
                self._reading(sample.values["value"], made_s)
            elif kind == PIN_SET:
                command = decode_command(payload)
                if command and command.value == 1:
                    self._saw("command published", now_s, after="reading published")
            elif kind == PIN_STATE:
                state = decode_state(payload)
                if state.value == 1:
                    self._saw("pin set and reported", now_s, after="reading published")
                elif state.why == RELEASED:
                    self._saw("pin back to its default", now_s, after="pin set and reported")
        except ContractError:
            return

    def wait(self, deadline_s: float, tend: Callable[[], None]) -> Turn:
        """Watch until the whole turn was seen, or nothing new was for `deadline_s` seconds.

        Args:
            deadline_s: for each step, counted from the one before.
            tend: called again and again meanwhile.
        """
        waited_since_s = time.monotonic()
        seen = 0
        while len(self._seen_at_s) < len(STEPS) and time.monotonic() - waited_since_s < deadline_s:
            self._ask()
            tend()
            time.sleep(0.002)
            if len(self._seen_at_s) > seen:
                seen = len(self._seen_at_s)
                waited_since_s = time.monotonic()
        first_s = self._seen_at_s.get(STEPS[0][0], 0.0)
        names = [name for name, _ in STEPS]
        steps = [
            Step(name, round((self._seen_at_s[name] - first_s) * 1000, 1)) for name in names if name in self._seen_at_s
        ]
        return Turn(steps, next((name for name in names if name not in self._seen_at_s), None))

    def _reading(self, value: float, now_s: float) -> None:
        if value < self._below:
            self._low_at_s = self._low_at_s if self._trigger is not None else now_s
            self._saw("reading falls", now_s, after="pin set and reported")
        elif value > self._above and self._low_at_s is not None and self._trigger is None:
            self._saw("reading published", now_s)
            self._trigger = value

    def _ask(self) -> None:
        """Ask the store and the webhook for the steps that no message shows."""
        if self._trigger is None:
            return
        if "reading stored" not in self._seen_at_s and self._stored(self._trigger):
            self._saw("reading stored", time.time())
        if "claim made" in self._seen_at_s and "reading falls" not in self._seen_at_s:
            return
        if "alert resolves" in self._seen_at_s:
            return
        fired_s, claimed_s, resolved_s = self._alerts()
        began_s = self._low_at_s or 0.0  # what is older is of an earlier turn
        if fired_s and fired_s > began_s:
            # Alerts carry whole milliseconds, cut off: never before the reading that fired them.
            self._saw("alert fires", max(fired_s, self._seen_at_s["reading published"]))
        if claimed_s and claimed_s > began_s:
            self._saw("claim made", claimed_s)
        if resolved_s:
            self._saw("alert resolves", resolved_s, after="reading falls")

    def _saw(self, name: str, at_s: float, after: str = "") -> None:
        with self._lock:
            if name not in self._seen_at_s and (not after or after in self._seen_at_s):
                self._seen_at_s[name] = at_s

"""What a rules file says, as values: rules, conditions, daily windows, targets.

Everything here is frozen and comparable: a rule that is equal after the file
was loaded again keeps what was seen for it. Times of one day have no zone of
their own; durations are seconds.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import time
from zoneinfo import ZoneInfo

__all__ = [
    "DEVICE",
    "FIRE",
    "GRAFANA",
    "HOLD",
    "OPERATORS",
    "RELEASE",
    "STREAM",
    "Comparison",
    "Condition",
    "Daily",
    "NoData",
    "Rule",
    "Target",
]

STREAM = "stream"
GRAFANA = "grafana"

RELEASE = "release"
HOLD = "hold"
FIRE = "fire"

DEVICE = "{device}"
"""Stands in a target for the device that the reading came from."""

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of a value with a number; `operator` is one of OPERATORS."""

    operator: str
    number: float

    def holds(self, value: float) -> bool:
        """Tell whether it holds for `value`."""
        return OPERATORS[self.operator](value, self.number)

    def __str__(self) -> str:
        return f"{self.operator} {self.number}"


@dataclass(frozen=True, slots=True)
class NoData:
    """What happens when a device is silent: after how many seconds, and RELEASE, HOLD or FIRE."""

    after_s: float
    do: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one sensor, for each device by itself.

    Attributes:
        sensor: the sensor's name.
        devices: ids of the devices that are meant, None for every device.
        when: what must hold to fire.
        clear: what must hold to resolve, None for "not `when`".
        over_s: length of the window whose `reduce` is compared; 0: the last reading alone.
        reduce: mean, max, min, last or count.
        for_s: how long `when` must hold before it fires.
        no_data: None only with `count`, which is never without a value.
    """

    sensor: str
    devices: tuple[str, ...] | None
    when: Comparison
    clear: Comparison | None
    over_s: float
    reduce: str
    for_s: float
    no_data: NoData | None

    def covers(self, device: str) -> bool:
        """Tell whether the condition is meant for `device`."""
        return self.devices is None or device in self.devices

    def cleared(self, value: float) -> bool:
        """Tell whether `value` ends the alert; between `when` and `clear` neither holds."""
        return self.clear.holds(value) if self.clear else not self.when.holds(value)


@dataclass(frozen=True, slots=True)
class Daily:
    """A window of every day: it begins at `at` on the clocks of `tz` and lasts `lasts_s` real seconds."""

    at: time
    lasts_s: float
    tz: ZoneInfo


@dataclass(frozen=True, slots=True)
class Target:
    """A pin and the value that a rule asks of it; `device` may be DEVICE."""

    device: str
    pin: str
    value: float

    def text(self, device: str) -> str:
        """Return it as the label `actuate` spells it, with `device` in the place of DEVICE."""
        return f"{self.device.replace(DEVICE, device)}/{self.pin}={self.value}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: unique in the file; the alert's name.
        trigger: what makes it fire.
        then: the targets, at least one.
        slot: the claim's slot at the webhook.
        engine: STREAM or GRAFANA.
    """

    name: str
    trigger: Condition | Daily
    then: tuple[Target, ...]
    slot: str
    engine: str

    def actuate(self, device: str) -> str:
        """Return the label `actuate` for an alert about `device`."""
        return ",".join(target.text(device) for target in self.then)

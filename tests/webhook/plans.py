"""Plans: which pins, guards and alerts a history of `test_model` is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

from tests.webhook.wanted import Ask
from webhook.commands import Pin
from webhook.guards import Limits, Quiet

__all__ = ["DEVICE", "EXCLUSIVE", "GUARDED", "PLAIN", "PLANS", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What there is.

    Attributes:
        asks: the alerts that may fire, by fingerprint.
        limits: the guards of the pins file.
        declared: the guards of a pin's own device.
    """

    name: str
    asks: dict[str, Ask]
    limits: dict[Pin, Limits] = field(default_factory=dict)
    declared: dict[Pin, dict[str, Any]] = field(default_factory=dict)

    @property
    def pins(self) -> list[Pin]:
        return sorted({ask.pin for ask in self.asks.values()})

    @property
    def exclusive(self) -> bool:
        return any(limits.exclusive_with for limits in self.limits.values())

    def devices(self) -> Mapping[str, Mapping[str, dict[str, Any]]]:
        """Return device -> pin -> its configuration there."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for pin in self.pins:
            found.setdefault(pin[0], {})[pin[1]] = {"safe": 0, **self.declared.get(pin, {})}
        return found


_RED = ("lights", "red")
_MAIN = ("pump", "main")
_BACK = ("well", "back")
_ROD = ("heat", "rod")

PLAIN = Plan(
    "plain",
    {
        "hot": Ask(_RED, 1),
        "cool": Ask(_RED, 0),
        "dry": Ask(_RED, 1, "threshold"),
        "fire": Ask(_RED, 0, "safety"),
    },
)
# The world begins at 08:00 UTC.
_QUIET = Quiet(time(8, 5), time(8, 8), ZoneInfo("UTC"))
GUARDED = Plan(
    "guarded",
    {
        "low": Ask(_MAIN, 1),
        "soak": Ask(_MAIN, 1, "timer"),
        "flood": Ask(_MAIN, 1, "safety"),
        "leak": Ask(_MAIN, 0, "safety"),
    },
    {_MAIN: Limits(min_on_s=20, min_off_s=30, max_on_s=120, max_switches_per_h=4, quiet=_QUIET)},
)
EXCLUSIVE = Plan(
    "exclusive",
    {
        "fill": Ask(_MAIN, 1),
        "rinse": Ask(_BACK, 1),
        "drain": Ask(_BACK, 1, "safety"),
        "leak": Ask(_MAIN, 0, "safety"),
    },
    {_MAIN: Limits(exclusive_with=frozenset({_BACK})), _BACK: Limits(exclusive_with=frozenset({_MAIN}))},
)
DEVICE = Plan(
    "device",
    {"cold": Ask(_ROD, 1), "chill": Ask(_ROD, 1, "threshold"), "fire": Ask(_ROD, 0, "safety")},
    declared={_ROD: {"min_on_s": 20, "min_off_s": 15, "max_on_s": 100}},
)
PLANS = (PLAIN, GUARDED, EXCLUSIVE, DEVICE)

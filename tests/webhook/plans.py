"""Plans: which pins, guards and alerts a history of `test_model` is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

from tests.webhook.wanted import Ask
from tests.webhook.world_foreign import Esphome, Foreign, Mute, Own, Relay, Shelly1, Shelly2, Tasmota, Zigbee
from webhook.commands import Pin
from webhook.guards import Limits, Quiet, limits_declared

__all__ = ["DEVICE", "EXCLUSIVE", "GUARDED", "PLAIN", "PLANS", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What there is.

    Attributes:
        asks: the alerts that may fire, by fingerprint.
        limits: the guards of the pins file.
        declared: the guards of a pin's own device, which keeps them, too.
        foreign: devices of other firmware, by name.
    """

    name: str
    asks: dict[str, Ask]
    limits: dict[Pin, Limits] = field(default_factory=dict)
    declared: dict[Pin, dict[str, Any]] = field(default_factory=dict)
    foreign: dict[str, Foreign] = field(default_factory=dict)

    @property
    def guards(self) -> dict[Pin, Limits]:
        """Return what the webhook keeps to, whoever declares it."""
        ours = {one.pin: one.device.pins[one.pin[1]].guards for one in self.foreign.values()}
        return self.limits | {pin: limits_declared(declared) for pin, declared in {**self.declared, **ours}.items()}

    @property
    def foreign_pins(self) -> set[Pin]:
        return {one.pin for one in self.foreign.values()}

    def late_s(self, pin: Pin) -> float:
        """Return what other firmware adds to the time in which a pin is right again."""
        return 3 * self.foreign[pin[0]].late_s + 5 if pin[0] in self.foreign else 0

    def dead_man(self, pin: Pin) -> bool:
        """Tell whether the pin's own firmware ends what is not renewed."""
        return pin[0] in self.foreign and self.foreign[pin[0]].device.pins[pin[1]].dead_man

    def retained(self, pin: Pin) -> bool:
        """Tell whether the pin follows what the broker has kept, whoever is there."""
        return pin[0] in self.foreign and "retain" in self.foreign[pin[0]].device.pins[pin[1]].where

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
            if pin in self.foreign_pins:
                continue
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


def _foreign(name: str, firmware: type[Relay], declared: str, **traits: Any) -> Plan:
    pin = (name, "power")
    asks = {"cold": Ask(pin, 1), "chill": Ask(pin, 1, "threshold"), "fire": Ask(pin, 0, "safety")}
    return Plan(name, asks, foreign={name: Foreign(pin, declared, firmware, **traits)})


TASMOTA = _foreign("tasmota", Tasmota, "{kind: tasmota, topic: kettle, pins: {power: {dead_man: true}}}")
ZIGBEE = _foreign(
    "zigbee", Zigbee, "{kind: zigbee2mqtt, topic: zigbee2mqtt/lamp, pins: {power: }}", late_s=7, remembers=True
)
ESPHOME = _foreign(
    "esphome", Esphome, "{kind: esphome, topic: heating, pins: {power: {entity: switch/relay}}}", remembers=True
)
SHELLY1 = _foreign(
    "shelly1",
    Shelly1,
    "{kind: shelly1, topic: shellies/plug, pins: {power: {min_on_s: 20, min_off_s: 15, max_on_s: 100}}}",
    late_s=3,
)
SHELLY2 = _foreign("shelly2", Shelly2, "{kind: shelly2, topic: plus, pins: {power: {dead_man: true}}}")
_SETS = "topic: own/set, on: yes, off: no"
_IS = "state_topic: own/is, state_key: relay.on"
OWN = _foreign(
    "own", Own, f"{{kind: custom, status_topic: own/there, pins: {{power: {{{_SETS}, {_IS}, retain: true}}}}}}"
)
MUTE = _foreign("mute", Mute, f"{{kind: custom, status_topic: own/there, pins: {{power: {{{_SETS}}}}}}}")
BOARDS = (PLAIN, GUARDED, EXCLUSIVE, DEVICE)
OTHERS = (TASMOTA, ZIGBEE, ESPHOME, SHELLY1, SHELLY2, OWN, MUTE)
PLANS = (*BOARDS, *OTHERS)

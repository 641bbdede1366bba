"""What a module of this package says about one device of its firmware."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Device", "Firmware", "Heard", "Message", "Parse", "Pin", "Read", "pin_reader", "switched"]

Parse = Callable[[str], object]
"""Reads one value of the file; raises ValueError whose message completes "'<text>' ..."."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something to publish, with QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What a message of the device says.

    Attributes:
        pin, value: what a pin is; "" when it is about the device.
        online: whether the device says that it is there; None when it is about a pin.
    """

    pin: str = ""
    value: float = 0
    online: bool | None = None


Read = Callable[[bytes], Sequence[Heard]]
"""Says what a payload means; raises ValueError for one that it does not understand."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A pin as the file declares it.

    Attributes:
        safe: its value when nothing is asked of it any more.
        dead_man: a timer of the firmware, or one that its owner has set there, switches it off when commands stop
            coming: every renewal is sent to the device.
        guards: of the contract's PIN_NUMBERS (`min_on_s`, ...), kept by the webhook.
        where: what the firmware needs to know, by key.
    """

    safe: float
    dead_man: bool
    guards: Mapping[str, float]
    where: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Firmware:
    """How to talk with one device. Topics are complete: nothing here has a wildcard.

    Attributes:
        command: (pin, value, lease in seconds) -> what to publish so that the pin takes the value.
        writes: every topic that `command` and `queries` may name.
        reads: topic -> what its payload says.
        queries: ask the device what its pins are.
        presumed_online: no message says that the device is there, so it is thought to be.
        assumed: pins whose state nobody reports: they are thought to be what they were told.
    """

    command: Callable[[str, float, int], Sequence[Message]]
    writes: tuple[str, ...]
    reads: Mapping[str, Read]
    queries: tuple[Message, ...] = ()
    presumed_online: bool = False
    assumed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Device:
    """A declared device.

    Attributes:
        name: its device id at Pinloop.
        kind: its firmware, as in the file.
        user: its user name at the broker, for its rights there.
        declared: what makes it equal to the one of an earlier load.
    """

    name: str
    kind: str
    user: str
    pins: Mapping[str, Pin]
    firmware: Firmware = field(compare=False)
    declared: tuple[tuple[str, str], ...] = ()

    def place(self, pin: str) -> tuple[object, ...]:
        """Return where the pin is switched: equal for the same relay, whatever the device and the pin are called."""
        where = self.pins[pin].where
        if self.kind == "custom":
            return (self.kind, where["topic"])
        return (self.kind, self.declared, tuple(sorted(where.items())))

    def gone_in(self, later: "Device | None") -> list[str]:
        """Return the pins that are not switched in the same way in a later declaration of the device."""
        if later is None or (later.kind, later.declared) != (self.kind, self.declared):
            return list(self.pins)
        return [
            name for name, pin in self.pins.items() if name not in later.pins or later.pins[name].where != pin.where
        ]


def pin_reader(pin: str, value: Callable[[bytes], float]) -> Read:
    """Return what reads a topic that is about one pin only."""
    return lambda payload: [Heard(pin, value(payload))]


def switched(text: str) -> float:
    """Return 1 or 0 for on or off, whatever its case.

    Raises:
        ValueError: it is neither.
    """
    word = text.strip().lower()
    if word not in ("on", "off"):
        raise ValueError(f"{text[:40]!r} is not on or off")
    return 1 if word == "on" else 0

"""Boards of a world: the firmware's own pins (`firmware/pins.py`), behind a link that comes and goes."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from contract.commands import decode_command
from contract.topics import PIN_SET, PIN_STATE, Topics
from firmware.pins import Output
from webhook.commands import Pin

if TYPE_CHECKING:
    from tests.webhook.world import World

__all__ = ["LINK_LOST_S", "TOPICS", "Board", "set_topic"]

LINK_LOST_S = 30
TOPICS = Topics("pinloop")


def set_topic(pin: Pin) -> str:
    """Return the topic of a pin's commands."""
    return TOPICS.build(PIN_SET, *pin)


class Board:
    """A board with pins: the firmware's own, behind a link that comes and goes.

    Args:
        pins: their configuration, by name.
    """

    def __init__(self, world: "World", name: str, pins: Mapping[str, dict[str, Any]]) -> None:
        self._world = world
        self.subscriptions = {set_topic((name, pin)): pin for pin in pins}
        self.name = name
        self._config = pins
        self.linked = False
        self.wanted_link = True
        self._lost_at_s = 0.0
        self.boot()

    def boot(self) -> None:
        """Start anew, as after a power cut."""
        self.hang_up()
        for pin in self._config:
            self._world.drive((self.name, pin), 0)
        self.pins = {
            pin: Output(pin, {"link_lost_s": LINK_LOST_S, **config}, self._driver(pin), self._now_ms())
            for pin, config in self._config.items()
        }

    def tick(self) -> None:
        """Connect when that is possible, and let the pins look at the time."""
        if self.wanted_link and self._world.broker.up and not self.linked:
            self._connect()
        down_s = 0.0 if self.linked else max(0.001, self._world.clock.run_s - self._lost_at_s)
        for pin, output in self.pins.items():
            if output.tick(self._now_ms(), down_s):
                self._report(pin)

    def hear(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Take in what came on a pin's `set` topic."""
        pin = self.subscriptions[topic]
        command = decode_command(payload)
        if command is None:
            told = not retained and self.pins[pin].release(self._now_ms())
        else:
            told = self.pins[pin].command(command, retained, self._now_ms())
        if told:
            self._report(pin)

    def hang_up(self) -> None:
        """Lose the link."""
        if self.linked:
            self._world.publish(f"pinloop/{self.name}/status", b"offline")
        self.linked = False
        self._lost_at_s = self._world.clock.run_s

    def _connect(self) -> None:
        self.linked = True
        retained = {pin: self._world.broker.retained.get(set_topic((self.name, pin))) for pin in self.pins}
        self._world.publish(f"pinloop/{self.name}/status", b"online")
        for pin in self.pins:
            self._report(pin)
        info = {"fw": "m", "pins": {pin: output.limits for pin, output in self.pins.items()}}
        self._world.publish(f"pinloop/{self.name}/info", json.dumps(info).encode())
        for pin, payload in retained.items():
            if payload:
                self.hear(set_topic((self.name, pin)), payload, retained=True)

    def _report(self, pin: str) -> None:
        if self.linked:
            self._world.publish(TOPICS.build(PIN_STATE, self.name, pin), self.pins[pin].state().encode())

    def _driver(self, pin: str) -> Callable[[float], None]:
        return lambda value: self._world.drive((self.name, pin), value)

    def _now_ms(self) -> int:
        return int(self._world.clock.run_s * 1000)

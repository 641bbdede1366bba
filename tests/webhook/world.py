"""A world around the real webhook code: clock, broker and devices are in one process and do as they are told.

The webhook is made of its own classes on a real SQLite file (`world_webhook`); the pins of the boards are the
firmware's own (`world_boards`); devices of other firmware are simulated (`world_foreign`) behind the real bridge. The
broker keeps retained messages and hands on, in order, to who is connected at that moment.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.webhook.world_boards import LINK_LOST_S, Board, set_topic
from tests.webhook.world_clock import Clock, Crashed, simulated
from tests.webhook.world_foreign import Foreign, Relay
from tests.webhook.world_webhook import CLAIM_TTL_S, RECONCILE_S, TTL_S, Webhook
from webhook.commands import Pin
from webhook.guards import Limits

__all__ = [
    "CLAIM_TTL_S",
    "LINK_LOST_S",
    "RECONCILE_S",
    "TTL_S",
    "Clock",
    "Crashed",
    "World",
    "set_topic",
    "simulated",
]


@dataclass
class Broker:
    """Retained messages, what is to be handed on, and whether it is there."""

    up: bool = True
    retained: dict[str, bytes] = field(default_factory=dict)
    queue: deque[tuple[str, bytes]] = field(default_factory=deque)
    busy: bool = False


class World:
    """All of it but the webhook, until `start`; `advance` lets time pass for everybody.

    Args:
        pins: device -> pin -> its configuration on the device.
        limits: the guards of the pins file.
        on_start: called when the webhook is started.
        on_switch: called with a pin and its value when its hardware is set.
        on_step: called after each step of `advance`.
        foreign: devices of other firmware.

    Attributes:
        level: what each pin's hardware is set to.
        dry_run: in which mode the webhook is started next.
    """

    def __init__(
        self,
        clock: Clock,
        folder: Path,
        pins: Mapping[str, Mapping[str, dict[str, Any]]],
        limits: Mapping[Pin, Limits],
        on_start: Callable[[], None],
        on_switch: Callable[[Pin, float], None],
        on_step: Callable[[], None],
        foreign: Mapping[str, Foreign] = {},
    ) -> None:
        self.clock = clock
        self._on_start = on_start
        self._on_switch = on_switch
        self._on_step = on_step
        self._path = folder / "claims.db"
        self._limits = limits
        self._foreign = {name: one.device for name, one in foreign.items()}
        self.dry_run = False
        self.broker = Broker()
        self.webhook: Webhook | None = None
        self.level: dict[Pin, float] = {(name, pin): 0 for name, config in pins.items() for pin in config}
        self.level |= {one.pin: 0 for one in foreign.values()}
        self.devices: dict[str, Board | Relay] = {name: Board(self, name, config) for name, config in pins.items()}
        self.devices |= {name: one.make(self) for name, one in foreign.items()}

    def start(self) -> None:
        """Start the webhook on the database that is there."""
        if self.webhook is None:
            self.webhook = Webhook(self, self._path, self._limits, self.dry_run, self._foreign)
            self._on_start()

    def kill(self) -> None:
        """Kill the webhook; what was not committed is gone."""
        if self.webhook:
            self.webhook.close()
            self.webhook = None

    def drive(self, pin: Pin, value: float) -> None:
        """Set a pin's hardware."""
        if self.level[pin] != value:
            self.level[pin] = value
            self._on_switch(pin, value)

    def publish(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        """Retain a message where it is to be, and hand it to whoever is connected, after those before it."""
        if retain and payload:
            self.broker.retained[topic] = payload
        elif retain:
            self.broker.retained.pop(topic, None)
        with self.turn():
            self.broker.queue.append((topic, payload))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hand on what is published within the block at its end: nobody hears an answer while still speaking."""
        if self.broker.busy:
            yield
            return
        self.broker.busy = True
        try:
            yield
            while self.broker.queue:
                self._hand_on(*self.broker.queue.popleft())
        finally:
            self.broker.busy = False

    def _hand_on(self, topic: str, payload: bytes) -> None:
        for link in self.webhook.links if self.webhook else ():
            link.hear(topic, payload)
        for device in self.devices.values():
            if device.linked and topic in device.subscriptions:
                device.hear(topic, payload)

    def stop_broker(self, *, forgets: bool) -> None:
        """Take the broker away, with or without what it retained."""
        for device in self.devices.values():
            device.hang_up()
        for link in self.webhook.links if self.webhook else ():
            link.hang_up()
        self.broker.up = False
        if forgets:
            self.broker.retained.clear()

    def advance(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass; a webhook whose fuse burns down is killed there and started again at once."""
        end_s = self.clock.run_s + seconds
        while self.clock.run_s < end_s:
            self.clock.advance(min(step_s, end_s - self.clock.run_s))
            if self.webhook:
                try:
                    self.webhook.tick()
                except Crashed:
                    self.kill()
                    self.start()
                    self.webhook.tick()
            for device in self.devices.values():
                device.tick()
            self._on_step()

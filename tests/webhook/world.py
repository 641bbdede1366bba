"""A world around the real webhook code: clock, broker and device are in one process and do as they are told.

The webhook is made of its own classes on a real SQLite file; the device's pin is
the firmware's own (`firmware/pins.py`). The broker keeps retained messages and
hands on what is published, in order, to whoever is connected at that moment.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from contract.commands import decode_command
from contract.topics import Topics
from firmware.pins import Output
from service.mqtt import NotConnected
from webhook import alerts, observed, publisher, reconcile
from webhook.alerts import Alerts
from webhook.claims import Claims
from webhook.commands import Commands
from webhook.database import Database
from webhook.follower import GRAFANA, Follower, Source
from webhook.observed import Observed
from webhook.publisher import Publisher
from webhook.quarantine import Quarantine
from webhook.reconcile import Reconciler

TTL_S = 60
CLAIM_TTL_S = 150
RECONCILE_S = 5
LINK_LOST_S = 30
KEEPALIVE_S = 4
PIN = ("lights", "red")
SET, STATE = "pinloop/lights/pin/red/set", "pinloop/lights/pin/red/state"
INFO = json.dumps({"fw": "m", "pins": {"red": {"safe": 0, "default": 0}}}).encode()


class Crashed(Exception):  # noqa: N818  (not an error: what the test asked for)
    """The process was killed here."""


class Clock:
    """In the place of the module `time`: the wall clock may jump, the other may not."""

    def __init__(self) -> None:
        self.wall_s = 1_800_000_000.0
        self.run_s = 1000.0

    def time(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return self.run_s

    perf_counter = monotonic

    def right_s(self) -> float:
        """Return what the wall clock would be if nobody had set it: that of the senders."""
        return self.run_s + 1_799_999_000.0

    def advance(self, seconds: float) -> None:
        self.wall_s += seconds
        self.run_s += seconds


class Boundary:
    """A connection to SQLite that can be killed right before or right after its next COMMIT.

    Attributes:
        fuse: None, "before" or "after".
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.fuse: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql != "COMMIT" or self.fuse is None:
            return self._connection.execute(sql, *values)
        fuse, self.fuse = self.fuse, None
        if fuse == "after":
            self._connection.execute(sql)
        raise Crashed(fuse)


@dataclass
class Broker:
    """Retained messages, and who is connected."""

    up: bool = True
    retained: dict[str, bytes] = field(default_factory=dict)


class Device:
    """A board with one pin: the firmware's pin, behind a link that comes and goes."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.linked = False
        self.wanted_link = True
        self._lost_at_s = 0.0
        self.boot()

    def boot(self) -> None:
        """Start anew, as after a power cut."""
        self.hang_up()
        self.level = 0
        self.pin = Output("red", {"safe": 0, "link_lost_s": LINK_LOST_S}, self._drive, self._now_ms())

    def tick(self) -> None:
        """Connect when that is possible, and let the pin look at the time."""
        if self.wanted_link and self._world.broker.up and not self.linked:
            self._connect()
        down_s = 0.0 if self.linked else max(0.001, self._world.clock.run_s - self._lost_at_s)
        if self.pin.tick(self._now_ms(), down_s):
            self._report()

    def hear(self, payload: bytes, retained: bool) -> None:
        """Take in what came on the pin's `set` topic."""
        command = decode_command(payload)
        if command is None:
            told = not retained and self.pin.release(self._now_ms())
        else:
            told = self.pin.command(command, retained, self._now_ms())
        if told:
            self._report()

    def hang_up(self) -> None:
        """Lose the link."""
        if self.linked:
            self._world.publish("pinloop/lights/status", b"offline")
        self.linked = False
        self._lost_at_s = self._world.clock.run_s

    def _connect(self) -> None:
        self.linked = True
        self._world.publish("pinloop/lights/status", b"online")
        self._world.publish("pinloop/lights/info", INFO)
        self._report()
        if SET in self._world.broker.retained:
            self.hear(self._world.broker.retained[SET], retained=True)

    def _report(self) -> None:
        if self.linked:
            self._world.publish(STATE, self.pin.state().encode())

    def _drive(self, value: float) -> None:
        self.level = value

    def _now_ms(self) -> int:
        return int(self._world.clock.run_s * 1000)


class Webhook:
    """The webhook's own classes, on the database at `path`; also its session with the broker.

    Attributes:
        line: how the next published message fares: "ok", "lost" (the connection ends before it arrives), "unacked" (it
            arrives, and the connection ends before the PUBACK) or "twice".
    """

    def __init__(self, world: "World", path: Path) -> None:
        self._world = world
        self.line = "ok"
        self.connected = False
        self.database = Database(path)
        self.database.connection.execute("PRAGMA synchronous = OFF")  # processes are killed here, not machines
        self.boundary = Boundary(self.database.connection)
        self.database.connection = self.boundary  # type: ignore[assignment]
        topics = Topics("pinloop")
        self.observed = Observed(topics, on_info=lambda device: self.reconciler.info_came(device))
        commands = Commands(self.database, TTL_S, self.observed.reported_seq)
        self.claims = Claims(self.database, commands, self.observed.safe, {}, CLAIM_TTL_S)
        sender: Any = self
        self.publisher = Publisher(sender, topics, self.database, Quarantine("model", world.clock.monotonic))
        self.reconciler = Reconciler(
            self.database,
            self.claims,
            commands,
            self.publisher,
            self.observed,
            lambda: self.connected,
            RECONCILE_S,
            RECONCILE_S,
        )
        self.alerts = Alerts(self.database, self.claims, self.publisher, "")
        self.follower = Follower(self.database, self.claims, CLAIM_TTL_S, Source(GRAFANA, "http://grafana:3000"))

    def tick(self) -> None:
        """Connect when that is possible, and reconcile."""
        if self._world.broker.up and not self.connected:
            self.connected = True
            self.reconciler.connection_stands()
            for topic, payload in list(self._world.broker.retained.items()):
                self.hear(topic, payload, retained=True)
        self.reconciler._tick()

    def hear(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        message: Any = SimpleNamespace(topic=topic, payload=payload, retain=retained)
        self.observed.message(message)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> Any:
        """Stand in for `service.mqtt.Session`."""
        assert (qos, retain) == (1, True)
        if not self.connected or not self._world.broker.up:
            raise NotConnected
        line, self.line = self.line, "ok"
        if line != "lost":
            for _ in range(2 if line == "twice" else 1):
                self._world.publish(topic, payload)
        if line in ("lost", "unacked"):
            self.connected = False
        return SimpleNamespace(wait=lambda _timeout_s: line in ("ok", "twice"))

    def close(self) -> None:
        self.database.close()


class World:
    """All of it; `advance` lets time pass for everybody.

    Args:
        on_step: called after each step of `advance`.
        on_crash: called when the webhook was killed in such a step, and started again.
    """

    def __init__(self, folder: Path, on_step: Callable[[], None], on_crash: Callable[[], None]) -> None:
        self.clock = Clock()
        self._on_crash = on_crash
        self._on_step = on_step
        self._path = folder / "claims.db"
        self._stack = ExitStack()
        for module in (alerts, observed, publisher, reconcile):
            self._stack.enter_context(mock.patch.object(module, "time", self.clock))
        self.broker = Broker()
        self.webhook: Webhook | None = None
        self.device = Device(self)
        self.start()

    def close(self) -> None:
        """End everything and give the clock back."""
        self.kill()
        self._stack.close()

    def start(self) -> None:
        """Start the webhook on the database that is there."""
        if self.webhook is None:
            self.webhook = Webhook(self, self._path)

    def kill(self) -> None:
        """Kill the webhook; what was not committed is gone."""
        if self.webhook:
            self.webhook.close()
            self.webhook = None

    def publish(self, topic: str, payload: bytes) -> None:
        """Retain a message and hand it to whoever is connected."""
        if payload:
            self.broker.retained[topic] = payload
        else:
            self.broker.retained.pop(topic, None)
        if topic == SET and self.device.linked:
            self.device.hear(payload, retained=False)
        if self.webhook and self.webhook.connected:
            self.webhook.hear(topic, payload)

    def stop_broker(self, *, forgets: bool) -> None:
        """Take the broker away, with or without what it retained."""
        self.device.hang_up()
        if self.webhook:
            self.webhook.connected = False
        self.broker.up = False
        if forgets:
            self.broker.retained.clear()

    def advance(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass; a webhook whose fuse burns down is killed there and started again with the next step."""
        end_s = self.clock.run_s + seconds
        while self.clock.run_s < end_s:
            self.clock.advance(min(step_s, end_s - self.clock.run_s))
            if self.webhook:
                try:
                    self.webhook.tick()
                except Crashed:
                    self.kill()
                    self.start()
                    self._on_crash()
            self.device.tick()
            self._on_step()

"""A world around the real webhook code: clock, broker and devices are in one process and do as they are told.

The webhook is made of its own classes on a real SQLite file; the pins of the devices are the firmware's own
(`firmware/pins.py`). The broker keeps retained messages and hands on, in order, to who is connected at that moment.
"""

import json
import logging
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import structlog

from contract.commands import decode_command
from contract.topics import PIN_SET, PIN_STATE, Topics
from firmware.pins import Output
from service.mqtt import NotConnected, Outgoing
from webhook.alerts import Alerts
from webhook.claims import Claims
from webhook.clock import follow_back
from webhook.commands import Commands, Pin
from webhook.database import Database
from webhook.follower import GRAFANA, Follower, Source
from webhook.guards import Limits
from webhook.holds import Holds
from webhook.observed import Observed
from webhook.publisher import Publisher
from webhook.quarantine import Quarantine
from webhook.reconcile import Reconciler

TTL_S = 60
CLAIM_TTL_S = 150
RECONCILE_S = 5
LINK_LOST_S = 30
_START_S = 1_800_000_000.0  # a Friday in January 2027, 08:00 UTC
_TOPICS = Topics("pinloop")


class Crashed(Exception):  # noqa: N818  (not an error: what the test asked for)
    """The process was killed here."""


class Clock:
    """In the place of the module `time`: the wall clock may jump, the other may not."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, for another world."""
        self.wall_s = _START_S
        self.run_s = 1000.0

    def time(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return self.run_s

    perf_counter = monotonic

    def right_s(self) -> float:
        """Return what the wall clock would be if nobody had set it: that of the senders."""
        return self.run_s + _START_S - 1000.0

    def advance(self, seconds: float) -> None:
        self.wall_s += seconds
        self.run_s += seconds


@contextmanager
def simulated() -> Iterator[Clock]:
    """Give every module of the webhook this clock and no log, and take both back, whatever happens."""
    clock = Clock()
    before = structlog.get_config() if structlog.is_configured() else None
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("webhook.") and getattr(module, "time", None) is time:
                stack.enter_context(mock.patch.object(module, "time", clock))
        stack.callback(lambda: structlog.configure(**before) if before else structlog.reset_defaults())
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
        )
        yield clock


class Boundary:
    """A connection to SQLite at which the process can be killed, or the disk be full.

    Attributes:
        fuse: what the next COMMIT meets: "before" or "after" (killed there), "full" (it fails); "torn": the next
            command cannot be written, in the middle of a transaction; None: nothing.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.fuse: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT" and self.fuse in ("before", "after", "full"):
            fuse, self.fuse = self.fuse, None
            if fuse == "full":
                raise sqlite3.OperationalError("database or disk is full")
            if fuse == "after":
                self._connection.execute(sql)
            raise Crashed(fuse)
        self._tear(sql)
        return self._connection.execute(sql, *values)

    def executemany(self, sql: str, values: Any) -> Any:
        self._tear(sql)
        return self._connection.executemany(sql, values)

    def _tear(self, sql: str) -> None:
        if self.fuse == "torn" and "INTO commands" in sql:
            self.fuse = None
            raise sqlite3.OperationalError("database or disk is full")


@dataclass
class Broker:
    """Retained messages, and who is connected."""

    up: bool = True
    retained: dict[str, bytes] = field(default_factory=dict)


class Device:
    """A board with pins: the firmware's own, behind a link that comes and goes.

    Args:
        pins: their configuration, by name.
    """

    def __init__(self, world: "World", name: str, pins: Mapping[str, dict[str, Any]]) -> None:
        self._world = world
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

    def hear(self, pin: str, payload: bytes, retained: bool) -> None:
        """Take in what came on a pin's `set` topic."""
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
                self.hear(pin, payload, retained=True)

    def _report(self, pin: str) -> None:
        if self.linked:
            self._world.publish(_TOPICS.build(PIN_STATE, self.name, pin), self.pins[pin].state().encode())

    def _driver(self, pin: str) -> Callable[[float], None]:
        return lambda value: self._world.drive((self.name, pin), value)

    def _now_ms(self) -> int:
        return int(self._world.clock.run_s * 1000)


def set_topic(pin: Pin) -> str:
    """Return the topic of a pin's commands."""
    return _TOPICS.build(PIN_SET, *pin)


class _Landed:
    """A publication of which it is known whether a PUBACK comes."""

    def __init__(self, acked: bool) -> None:
        self._acked = acked

    def wait(self, _timeout_s: float) -> bool:
        return self._acked


class Webhook:
    """The webhook's own classes, on the database at `path`; also its session with the broker.

    Attributes:
        line: how the next published message fares: "ok", "lost" (the connection ends before it arrives), "unacked" (it
            arrives, and the connection ends before the PUBACK) or "twice".
        step_s: by which what is stored was moved at the start.
    """

    def __init__(self, world: "World", path: Path, limits: Mapping[Pin, Limits], dry_run: bool) -> None:
        self._world = world
        self.line = "ok"
        self.connected = False
        self.database = Database(path)
        self.database.connection.execute("PRAGMA synchronous = OFF")  # processes are killed here, not machines
        self.boundary = Boundary(self.database.connection)
        self.database.connection = self.boundary  # type: ignore[assignment]
        self.observed = Observed(_TOPICS, on_info=lambda device: self.reconciler.info_came(device))
        self.commands = Commands(self.database, TTL_S, self.observed.reported_seq, lambda _pin: dry_run)
        holds = Holds(self.database, self.commands, self.observed, limits, TTL_S, lambda _pin: dry_run)
        self.claims = Claims(self.database, self.commands, self.observed.safe, {}, CLAIM_TTL_S, holds=holds)
        self.step_s = follow_back(self.database, self.claims, world.clock.time())
        sender: Any = self
        self.publisher = Publisher(sender, _TOPICS, self.database, Quarantine("model", world.clock.monotonic))
        self.reconciler = Reconciler(
            self.database,
            self.claims,
            self.commands,
            self.publisher,
            self.observed,
            lambda: self.connected,
            RECONCILE_S,
            RECONCILE_S,
            holds,
            lambda _pin: dry_run,
        )
        self.alerts = Alerts(self.database, self.claims, self.publisher, "")
        self.follower = Follower(self.database, self.claims, CLAIM_TTL_S, Source(GRAFANA, "http://grafana:3000"))

    def tick(self) -> None:
        """Connect when that is possible, and reconcile; what the disk refused is tried again, as 0.2 s later."""
        if self._world.broker.up and not self.connected:
            self.connected = True
            self.reconciler.connection_stands()
            for topic, payload in list(self._world.broker.retained.items()):
                self.hear(topic, payload, retained=True)
        try:
            self.reconciler._tick()
        except sqlite3.OperationalError:
            self.reconciler._tick()

    def hear(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        message: Any = SimpleNamespace(topic=topic, payload=payload, retain=retained)
        self.observed.message(message)

    def publish_all(self, messages: Sequence[Outgoing]) -> list[Any]:
        """Stand in for `service.mqtt.Session`."""
        if not self.connected or not self._world.broker.up:
            raise NotConnected
        return [_Landed(self._send(one)) for one in messages]

    def _send(self, message: Outgoing) -> bool:
        """Send one, as `line` says; return whether a PUBACK comes."""
        assert message.retain
        if not self.connected:
            return False  # lost with the one before it
        line, self.line = self.line, "ok"
        if line != "lost":
            for _ in range(2 if line == "twice" else 1):
                self._world.publish(message.topic, message.payload)
        if line in ("lost", "unacked"):
            self.connected = False
        return self.connected

    def close(self) -> None:
        self.database.close()


class World:
    """All of it but the webhook, until `start`; `advance` lets time pass for everybody.

    Args:
        pins: device -> pin -> its configuration on the device.
        limits: the guards of the pins file.
        on_start: called when the webhook is started.
        on_switch: called with a pin and its value when its hardware is set.
        on_step: called after each step of `advance`.

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
    ) -> None:
        self.clock = clock
        self._on_start = on_start
        self._on_switch = on_switch
        self._on_step = on_step
        self._path = folder / "claims.db"
        self._limits = limits
        self.dry_run = False
        self.broker = Broker()
        self.webhook: Webhook | None = None
        self.level: dict[Pin, float] = {(name, pin): 0 for name, config in pins.items() for pin in config}
        self.devices = {name: Device(self, name, config) for name, config in pins.items()}
        self._by_topic = {set_topic(pin): pin for pin in self.level}

    def start(self) -> None:
        """Start the webhook on the database that is there."""
        if self.webhook is None:
            self.webhook = Webhook(self, self._path, self._limits, self.dry_run)
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

    def publish(self, topic: str, payload: bytes) -> None:
        """Retain a message and hand it to whoever is connected."""
        if payload:
            self.broker.retained[topic] = payload
        else:
            self.broker.retained.pop(topic, None)
        if self.webhook and self.webhook.connected:
            self.webhook.hear(topic, payload)
        if topic in self._by_topic:
            device, pin = self._by_topic[topic]
            if self.devices[device].linked:
                self.devices[device].hear(pin, payload, retained=False)

    def stop_broker(self, *, forgets: bool) -> None:
        """Take the broker away, with or without what it retained."""
        for device in self.devices.values():
            device.hang_up()
        if self.webhook:
            self.webhook.connected = False
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

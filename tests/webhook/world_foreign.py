"""Devices of other firmware in a world: each a relay as that firmware treats it, written from its documentation.

They know nothing of Pinloop. What they share (`Relay`): a power supply, a link with a last will, reports that may be
late and are lost with the link, a button, and a timer of their own where the firmware has one.
"""

import json
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from webhook.commands import Pin
from webhook.foreign.model import Device
from webhook.routes_file import parse_routes

if TYPE_CHECKING:
    from tests.webhook.world import World

__all__ = ["Foreign", "Relay"]


class _Said(NamedTuple):
    due_s: float
    topic: str
    payload: bytes
    retain: bool


class Relay(ABC):
    """One relay behind MQTT.

    Args:
        late_s: how long its reports take.
        remembers: it is after a power cut what it was before; otherwise off.
    """

    there: tuple[str, str, str]
    subscriptions: frozenset[str]

    def __init__(self, world: "World", pin: Pin, *, late_s: float, remembers: bool) -> None:
        self._world = world
        self.pin = pin
        self._late_s = late_s
        self._remembers = remembers
        self.linked = False
        self.wanted_link = True
        self.on = False
        self._ends_s = math.inf
        self._going: deque[_Said] = deque()
        self._booted = True

    def boot(self) -> None:
        """Start anew, as after a power cut; its own timer is forgotten."""
        self.hang_up()
        self._booted = True
        self._ends_s = math.inf
        self._set(self.on and self._remembers)

    def tick(self) -> None:
        """Connect when that is possible, and do what time brings."""
        if self.wanted_link and self._world.broker.up and not self.linked:
            self._connect()
        if self._world.clock.run_s >= self._ends_s:
            self.switch(False)
        while self._going and self._going[0].due_s <= self._world.clock.run_s:
            self._send(self._going.popleft())

    def hang_up(self) -> None:
        """Lose the link; the broker publishes the last will."""
        if self.linked:
            self._world.publish(self.there[0], self.there[2].encode())
        self.linked = False
        self._going.clear()

    def press(self, on: bool) -> None:
        """Somebody is at its button."""
        self.switch(on)

    @abstractmethod
    def hear(self, topic: str, payload: bytes) -> None:
        """Take in what it is subscribed to."""

    @abstractmethod
    def report(self) -> None:
        """Say what the relay is."""

    def switch(self, on: bool, for_s: float = math.inf) -> None:
        """Set the relay and say so; some firmwares say it also when nothing changed."""
        self._ends_s = self._world.clock.run_s + for_s if on else math.inf
        changed = on != self.on
        self._set(on)
        if changed or self.repeats:
            self.report()

    repeats = True

    def say(self, topic: str, payload: str | dict[str, Any], *, retain: bool = False) -> None:
        """Send a report, when its time has come."""
        if not self.linked:
            return
        raw = payload if isinstance(payload, str) else json.dumps(payload)
        self._going.append(_Said(self._world.clock.run_s + self._late_s, topic, raw.encode(), retain))
        if not self._late_s:
            self._send(self._going.popleft())

    def _set(self, on: bool) -> None:
        self.on = on
        self._world.drive(self.pin, int(on))

    def _send(self, said: _Said) -> None:
        self._world.publish(said.topic, said.payload, retain=said.retain)

    def _connect(self) -> None:
        self.linked = True
        topic, online, _ = self.there
        self._world.publish(topic, online.encode())
        self.greet(booted=self._booted)
        self._booted = False
        for topic in sorted(self.subscriptions):
            if payload := self._world.broker.retained.get(topic):
                self.hear(topic, payload)

    def greet(self, *, booted: bool) -> None:  # noqa: ARG002  (some firmwares tell their state only then)
        """Say what the firmware says at a connect."""
        self.report()


class Tasmota(Relay):
    """Reports after every command, also after one that changes nothing; PulseTime stays once it is set.

    It says nothing of its relay when only the link was lost. POWER without a payload ends a running PulseTime, as it
    did up to version 9.
    """

    there = ("tele/kettle/LWT", "Online", "Offline")
    subscriptions = frozenset({"cmnd/kettle/POWER1", "cmnd/kettle/PulseTime1", "cmnd/kettle/STATE"})
    pulse_s = math.inf

    def hear(self, topic: str, payload: bytes) -> None:
        word = payload.decode()
        if topic.endswith("PulseTime1"):
            number = int(word)
            self.pulse_s = math.inf if not number else number / 10 if number < 112 else number - 100
        elif topic.endswith("STATE"):
            self.say("stat/kettle/RESULT", {"POWER": "ON" if self.on else "OFF", "Heap": 26})
        elif word:
            self.switch(word == "ON", self.pulse_s)
        else:
            self._ends_s = math.inf

    def press(self, on: bool) -> None:
        self.switch(on, self.pulse_s)

    def greet(self, *, booted: bool) -> None:
        if booted:
            self.report()

    def report(self) -> None:
        word = "ON" if self.on else "OFF"
        self.say("stat/kettle/RESULT", {"POWER": word})
        self.say("stat/kettle/POWER", word)


class Zigbee(Relay):
    """Zigbee2MQTT with availability: what is sent to a device that is away is lost, and reports take their time."""

    there = ("zigbee2mqtt/lamp/availability", '{"state":"online"}', '{"state":"offline"}')
    subscriptions = frozenset({"zigbee2mqtt/lamp/set", "zigbee2mqtt/lamp/get"})

    def hear(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/get"):
            self.report()
        else:
            self.switch(json.loads(payload)["state"] == "ON")

    def report(self) -> None:
        self.say("zigbee2mqtt/lamp", {"state": "ON" if self.on else "OFF", "linkquality": 90})


class Esphome(Relay):
    """Retains its state, and does not say it again while nothing changes."""

    there = ("heating/status", "online", "offline")
    subscriptions = frozenset({"heating/switch/relay/command"})
    repeats = False

    def hear(self, _topic: str, payload: bytes) -> None:
        self.switch(payload == b"ON")

    def report(self) -> None:
        self.say("heating/switch/relay/state", "ON" if self.on else "OFF", retain=True)


class Shelly1(Relay):
    """Says everything every 30 s, and when it is asked; at a connect only that it is there."""

    there = ("shellies/plug/online", "true", "false")
    subscriptions = frozenset({"shellies/plug/relay/0/command", "shellies/plug/command"})
    repeats = False
    _next_s = 0.0

    def tick(self) -> None:
        super().tick()
        if self._world.clock.run_s >= self._next_s:
            self._next_s = self._world.clock.run_s + 30
            self.report()

    def hear(self, topic: str, payload: bytes) -> None:
        if topic == "shellies/plug/command":
            self.report()
        else:
            self.switch(payload == b"on")

    def greet(self, *, booted: bool) -> None:
        pass

    def report(self) -> None:
        self.say("shellies/plug/relay/0", "on" if self.on else "off")


class Shelly2(Relay):
    """JSON RPC: answers who asked, and notifies of changes; `toggle_after` belongs to one command."""

    there = ("plus/online", "true", "false")
    subscriptions = frozenset({"plus/rpc"})
    repeats = False

    def hear(self, _topic: str, payload: bytes) -> None:
        asked = json.loads(payload)
        params = asked["params"]
        result: dict[str, Any] = {"was_on": self.on}
        if asked["method"] == "Switch.Set":
            self.switch(params["on"], params.get("toggle_after", math.inf))
        else:
            result = {"id": 0, "output": self.on, "apower": 0.0}
        self.say(f"{asked['src']}/rpc", {"id": asked["id"], "src": "plus", "result": result})

    def report(self) -> None:
        self.say("plus/events/rpc", {"method": "NotifyStatus", "params": {"switch:0": {"id": 0, "output": self.on}}})


class Own(Relay):
    """Somebody's own, told by retained commands: it follows at a connect what the broker has kept."""

    there = ("own/there", "online", "offline")
    subscriptions = frozenset({"own/set"})

    def hear(self, _topic: str, payload: bytes) -> None:
        self.switch(payload == b"yes")

    def report(self) -> None:
        self.say("own/is", {"relay": {"on": "yes" if self.on else "no"}}, retain=True)


class Mute(Own):
    """Never says what its relay is: of a button on it nobody would hear."""

    def report(self) -> None:
        pass


@dataclass(frozen=True)
class Foreign:
    """A device of other firmware, as routes.yml declares it and as it is.

    Attributes:
        pin: its one relay.
        declared: the block of routes.yml.
        firmware: what it runs.
    """

    pin: Pin
    declared: str
    firmware: Callable[..., Relay]
    late_s: float = 0
    remembers: bool = False

    @cached_property
    def device(self) -> Device:
        return parse_routes(f"version: 1\ndevices:\n  {self.pin[0]}: {self.declared}\n").devices[self.pin[0]]

    def make(self, world: "World") -> Relay:
        return self.firmware(world, self.pin, late_s=self.late_s, remembers=self.remembers)

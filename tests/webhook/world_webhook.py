"""The webhook of a world: its own classes on a real SQLite file, between simulated sessions with the broker."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from contract.commands import State, decode_state
from contract.topics import PIN_STATE
from service.mqtt import NotConnected, Outgoing
from tests.webhook.world_boards import TOPICS
from tests.webhook.world_clock import Boundary
from webhook.alerts import Alerts
from webhook.claims import Claims
from webhook.clock import follow_back
from webhook.commands import Commands, Pin
from webhook.database import Database
from webhook.follower import GRAFANA, Follower, Source
from webhook.foreign import bridge
from webhook.foreign.model import Device
from webhook.guards import Limits
from webhook.holds import Holds
from webhook.observed import Observed
from webhook.publisher import Publisher
from webhook.quarantine import Quarantine
from webhook.reconcile import Reconciler

if TYPE_CHECKING:
    from tests.webhook.world import World

__all__ = ["CLAIM_TTL_S", "RECONCILE_S", "TTL_S", "Link", "Webhook"]

TTL_S = 60
CLAIM_TTL_S = 150
RECONCILE_S = 5


class _Landed:
    """A publication of which it is known whether a PUBACK comes."""

    def __init__(self, acked: bool) -> None:
        self._acked = acked

    def wait(self, _timeout_s: float) -> bool:
        return self._acked


class Link:
    """Stands in for `service.mqtt.Session`.

    Args:
        wants: whether a topic is subscribed to.
        on_message: called with each message.
        on_connected: called when the connection stands, before the retained messages.

    Attributes:
        line: how the next published message fares: "ok", "lost" (the connection ends before it arrives), "unacked" (it
            arrives, and the connection ends before the PUBACK) or "twice".
        wanted: cleared, it does not connect.
    """

    def __init__(
        self,
        world: "World",
        wants: Callable[[str], bool],
        on_message: Callable[[Any], None],
        on_connected: Callable[[], None],
    ) -> None:
        self._world = world
        self._wants = wants
        self._on_message = on_message
        self._on_connected = on_connected
        self.line = "ok"
        self.connected = False
        self.wanted = True

    def tick(self) -> None:
        """Connect when that is possible."""
        if self.wanted and self._world.broker.up and not self.connected:
            self.connected = True
            self._on_connected()
            with self._world.turn():
                for topic, payload in list(self._world.broker.retained.items()):
                    self.hear(topic, payload, retained=True)

    def hang_up(self) -> None:
        """End the connection."""
        self.connected = False

    def hear(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Take in what the broker hands on."""
        if self.connected and self._wants(topic):
            self._on_message(SimpleNamespace(topic=topic, payload=payload, retain=retained))

    def publish_all(self, messages: Sequence[Outgoing]) -> list[Any]:
        if not self.connected:
            raise NotConnected
        return [_Landed(self._send(one.topic, one.payload, one.retain)) for one in messages]

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> Any:
        assert qos == 1
        return self.publish_all([Outgoing(topic, payload, retain=retain)])[0]

    def _send(self, topic: str, payload: bytes, retain: bool) -> bool:
        """Send one, as `line` says; return whether a PUBACK comes."""
        if not self.connected:
            return False  # lost with the one before it
        line, self.line = self.line, "ok"
        if line in ("lost", "unacked"):
            self.connected = False
        if line != "lost":
            for _ in range(2 if line == "twice" else 1):
                self._world.publish(topic, payload, retain=retain)
        return self.connected


class Told(NamedTuple):
    """A state that was heard, and when."""

    state: State
    run_s: float


class Webhook:
    """The webhook's own classes, on the database at `path`.

    Args:
        foreign: the devices of other firmware that routes.yml declares.

    Attributes:
        told, told_off_s: what it was told of each pin last, and when it was told last that it is off.
        session, foreign: its connections with the broker; the second is that of the bridge, None without one.
        step_s: by which what is stored was moved at the start.
    """

    def __init__(
        self, world: "World", path: Path, limits: Mapping[Pin, Limits], dry_run: bool, foreign: Mapping[str, Device]
    ) -> None:
        self._world = world
        self.database = Database(path)
        self.database.connection.execute("PRAGMA synchronous = OFF")  # processes are killed here, not machines
        self.boundary = Boundary(self.database.connection)
        self.database.connection = self.boundary  # type: ignore[assignment]
        self.observed = Observed(TOPICS, on_info=lambda device: self.reconciler.info_came(device))
        self.commands = Commands(self.database, TTL_S, self.observed.reported_seq, lambda _pin: dry_run)
        holds = Holds(
            self.database,
            self.commands,
            self.observed,
            limits,
            TTL_S,
            lambda _pin: dry_run,
            heard=lambda: self.reconciler.adopted,
            foreign=lambda pin: foreign[pin[0]].pins[pin[1]].guards if pin[0] in foreign else {},
        )
        self.claims = Claims(self.database, self.commands, self.observed.safe, {}, CLAIM_TTL_S, holds=holds)
        self.step_s = follow_back(self.database, self.claims, world.clock.time())
        self.session = Link(
            world,
            lambda topic: topic.startswith(TOPICS.prefix + "/"),
            self._hear,
            lambda: self.reconciler.connection_stands(),
        )
        sender: Any = self.session
        self.publisher = Publisher(sender, TOPICS, self.database, Quarantine("model", world.clock.monotonic))
        self.reconciler = Reconciler(
            self.database,
            self.claims,
            self.commands,
            self.publisher,
            self.observed,
            lambda: self.session.connected,
            RECONCILE_S,
            RECONCILE_S,
            holds,
            lambda _pin: dry_run,
        )
        self.alerts = Alerts(self.database, self.claims, self.publisher, "")
        self.follower = Follower(self.database, self.claims, CLAIM_TTL_S, Source(GRAFANA, "http://grafana:3000"))
        self.told: dict[Pin, Told] = {}
        self.told_off_s: dict[Pin, float] = {}
        self.foreign: Link | None = None
        self._bridge: bridge.Bridge | None = None
        if foreign:
            self._begin_bridge(world, foreign)

    @property
    def links(self) -> list[Link]:
        return [self.session, self.foreign] if self.foreign else [self.session]

    @property
    def connected(self) -> bool:
        return all(link.connected for link in self.links)

    def tick(self) -> None:
        """Connect when that is possible, and reconcile; what the disk refused is tried again, as 0.2 s later."""
        for link in self.links:
            link.tick()
        try:
            self.reconciler._tick()
        except sqlite3.OperationalError:
            self.reconciler._tick()
        if self._bridge:
            with self._world.turn():
                self._bridge.tick()

    def _hear(self, message: Any) -> None:
        self.observed.message(message)
        topic = TOPICS.parse(message.topic)
        if topic.kind == PIN_STATE:
            state = decode_state(message.payload)
            pin = (topic.device, topic.name)
            self.told[pin] = Told(state, self._world.clock.run_s)
            if not state.value:
                self.told_off_s[pin] = self._world.clock.run_s

    def close(self) -> None:
        """End, as if killed."""
        for link in self.links:
            link.hang_up()
        self.database.close()

    def _begin_bridge(self, world: "World", devices: Mapping[str, Device]) -> None:
        """Make the twins, on a session of this world, without their thread: `tick` does its work."""

        def session(
            _settings: Any,
            _name: str,
            *,
            subscriptions: Sequence[tuple[str, int]],
            on_message: Callable[[Any], None],
            on_connected: Callable[[], None],
            on_disconnected: object,  # the quarantine has tests of its own
        ) -> Link:
            topics = {topic for topic, _ in subscriptions}
            self.foreign = Link(world, topics.__contains__, on_message, on_connected)
            return self.foreign

        settings: Any = None  # of the session only
        bridges = bridge.Bridges(settings, TOPICS, self.database, self.commands)
        with mock.patch.object(bridge, "Session", session), mock.patch.object(bridge.Bridge, "start"):
            bridges.follow(devices)
        self._bridge = bridges._bridge

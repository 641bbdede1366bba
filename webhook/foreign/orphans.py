"""Orphans: pins of other firmware that are declared no more, and may still be as a command of ours left them.

Their declarations are in the database until their end is known, so that neither
a broker that was away nor a webhook that was down leaves a relay on. They have a
connection of their own: a broker that has lost their rights takes nothing else.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from contract.topics import INFO, PIN_STATE, STATUS, Topics
from service import logs
from service.mqtt import Message as Received
from service.mqtt import NotConnected, Session
from service.settings import MqttSettings
from webhook.commands import Pin
from webhook.database import Database
from webhook.foreign.load import make_device
from webhook.foreign.model import Device, Heard, Message
from webhook.foreign.model import Pin as DeclaredPin

__all__ = ["Orphan", "Orphans", "read_declaration", "write_declaration"]

_TICK_S = 0.2
_PUBACK_S = 2.0
# The safe value is sent again so often; what is retained counts when nothing else was heard for so long.
_AGAIN_S = 30.0
_RETRY_S = 2.0
# After a connect the retained messages come first.
_SETTLE_S = 0.5
# A device that is in the bin reports nothing ever.
_FORGET_S = 7 * 86400.0


def write_declaration(device: Device) -> str:
    """Return what `read_declaration` makes the device of again."""
    pins = {
        name: [pin.safe, pin.dead_man, dict(sorted(pin.guards.items())), dict(sorted(pin.where.items()))]
        for name, pin in sorted(device.pins.items())
    }
    return json.dumps([device.kind, device.user, pins, dict(device.declared)])


def read_declaration(name: str, text: str) -> Device:
    """Return the device that was written.

    Raises:
        ValueError: by a version that knew other devices.
    """
    try:
        kind, user, declared, values = json.loads(text)
        pins = {pin: DeclaredPin(*one) for pin, one in declared.items()}
        return make_device(name, kind, user, pins, values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


@dataclass(slots=True)
class Orphan:
    """What a declaration that ended has left behind. Pure.

    Attributes:
        declared: its row in the database.
        waiting: pins that are not known to be safe.
        clears: topics at Pinloop at which nothing may stay retained.
        sent_s: when the broker first took the safe values of all that wait, in the caller's seconds; None: not yet.
        asked: the safe values are on their way; the device may answer sooner than the broker.
        online: whether the device is there, or thought to be.
        reported: what it said last, live or not.
    """

    device: Device
    declared: str
    waiting: set[str]
    clears: list[str]
    sent_s: float | None = None
    asked: bool = False
    online: bool = False
    reported: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.online = self.device.firmware.presumed_online

    def due(self) -> list[Message]:
        """Return what is to be sent now."""
        self.asked = True
        safe = [
            message
            for pin in sorted(self.waiting)
            for message in self.device.firmware.command(pin, self.device.pins[pin].safe, 0)
        ]
        return safe + [Message(topic, b"", retain=True) for topic in self.clears]

    def taken(self, now_s: float) -> None:
        """Note that the broker has taken what was due."""
        self.clears = []
        # Of those pins nobody will ever report anything, but a device that says that it is away has not heard it.
        if self.online:
            self.waiting -= self.device.firmware.assumed
        if self.sent_s is None:
            self.sent_s = now_s

    def heard(self, one: Heard, *, retained: bool) -> bool:
        """Take in what the device says; return whether the safe values are to be sent again now."""
        if one.online is not None:
            came = bool(one.online) and not retained
            self.online = bool(one.online)
            if came:
                self.reported.clear()
            return came
        self.online = self.online or not retained
        self.reported[one.pin] = one.value
        if self.asked and not retained and self._is_safe(one.pin):
            self.waiting.discard(one.pin)
        return False

    def settle(self, now_s: float) -> None:
        """Believe what a device that is there said last, when long enough nothing else was heard of it."""
        if self.sent_s is not None and self.online and now_s >= self.sent_s + _AGAIN_S:
            self.waiting = {pin for pin in self.waiting if not self._is_safe(pin)}

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return not self.waiting and not self.clears

    def _is_safe(self, pin: str) -> bool:
        return pin in self.device.pins and self.reported.get(pin) == self.device.pins[pin].safe


class Orphans:
    """Sends what was taken out of routes.yml its safe values until that is known to have worked.

    Args:
        engaged: tells whether a command may still hold a (device, pin).
    """

    def __init__(
        self, settings: MqttSettings, topics: Topics, database: Database, engaged: Callable[[Pin], bool]
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._database = database
        self._engaged = engaged
        self._log = logs.get("foreign")
        self._lock = threading.Lock()
        self._orphans: list[Orphan] = []
        self._session: Session | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._next_s = 0.0

    def follow(self, devices: Mapping[str, Device]) -> set[Pin]:
        """Remember what is declared now, and look after what is not; return the pins that are called otherwise now.

        Whoever has taken over the place of a pin has taken over its end, too: two would switch it in turns.
        """
        self.stop()
        places = {device.place(pin): (name, pin) for name, device in devices.items() for pin in device.pins}
        inherited: set[Pin] = set()
        now = {(name, write_declaration(device)) for name, device in devices.items()}
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT device, declared FROM declarations").fetchall()
            for name, declared in (tuple(row) for row in rows):
                if (name, declared) in now:
                    continue
                if not (orphan := self._orphan(name, declared, devices)):
                    connection.execute("DELETE FROM declarations WHERE device = ? AND declared = ?", (name, declared))
                    continue
                for pin in sorted(orphan.waiting):
                    if heir := places.get(orphan.device.place(pin)):
                        orphan.waiting.discard(pin)
                        inherited.add(heir)
                self._orphans.append(orphan)
                connection.execute(
                    "UPDATE declarations SET gone_s = coalesce(gone_s, ?) WHERE device = ? AND declared = ?",
                    (time.time(), name, declared),
                )
            connection.executemany("REPLACE INTO declarations VALUES (?, ?, NULL)", sorted(now))
        if self._orphans:
            self._begin()
        return inherited

    def stop(self) -> None:
        """Disconnect; what waits is in the database."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=5)
        self._thread = self._session = None
        self._orphans = []

    def problem(self) -> str | None:
        """Say what waits and why, None when nothing does; a check for `Health`."""
        with self._lock:
            waiting = [(orphan, pin) for orphan in self._orphans for pin in sorted(orphan.waiting)]
            session = self._session
        if not waiting or session is None:
            return None
        orphan, pin = waiting[0]
        topic = orphan.device.firmware.command(pin, orphan.device.pins[pin].safe, 0)[0].topic
        why = session.problem() or (
            f"its safe value is sent every {_AGAIN_S:.0f} s and not reported. It is away, or the broker lets nobody"
            f" write {topic!r} any more (setup made the rights anew; a broker does not say so): declare it again for a"
            " while, or switch it off by hand"
        )
        more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
        return f"{orphan.device.name}/{pin}{more} is declared no more and may be on: {why}"

    def _orphan(self, name: str, declared: str, devices: Mapping[str, Device]) -> Orphan | None:
        """Return what a declaration has left behind that holds no more, None for nothing."""
        try:
            device = read_declaration(name, declared)
        except ValueError as error:
            self._log.error("not released: another version has declared it", device=name, error=str(error))
            return None
        later = devices.get(name)
        gone = device.gone_in(later)
        kinds = [] if later else [self._topics.build(kind, name) for kind in (INFO, STATUS)]
        states = [
            self._topics.build(PIN_STATE, name, pin) for pin in device.pins if later is None or pin not in later.pins
        ]
        waiting = {pin for pin in gone if self._engaged((name, pin))}
        return Orphan(device, declared, waiting, states + kinds) if waiting or states else None

    def _begin(self) -> None:
        reads = sorted({topic for orphan in self._orphans if orphan.waiting for topic in orphan.device.firmware.reads})
        self._session = Session(
            self._settings,
            "webhook-orphans",
            subscriptions=[(topic, 1) for topic in reads],
            on_message=self._message,
            on_connected=self._connected,
        )
        self._stop = threading.Event()
        self._next_s = 0.0
        self._thread = threading.Thread(target=self._run, args=(self._session, self._stop), name="orphans", daemon=True)
        self._session.start()
        self._thread.start()

    def _connected(self) -> None:
        self._next_s = max(self._next_s, time.monotonic() + _SETTLE_S)

    def _run(self, session: Session, stop: threading.Event) -> None:
        while not stop.wait(_TICK_S) and self._orphans:
            now_s = time.monotonic()
            if session.connected and now_s >= self._next_s:
                self._next_s = now_s + _AGAIN_S
                if not self._send(session):
                    self._next_s = now_s + _RETRY_S
            with self._lock:
                for orphan in self._orphans:
                    orphan.settle(now_s)
            try:
                self._forget()
            except sqlite3.Error:  # a full disk
                self._log.exception("what is released could not be forgotten")
                stop.wait(_AGAIN_S)
        session.stop()

    def _send(self, session: Session) -> bool:
        """Send what is due; return whether the broker has taken it."""
        with self._lock:
            due = [(orphan, orphan.due()) for orphan in self._orphans]
        deadline = time.monotonic() + _PUBACK_S
        for orphan, messages in due:
            try:
                sent = [session.publish(one.topic, one.payload, 1, one.retain) for one in messages]
            except NotConnected:
                return False
            if not all(one.wait(max(0.0, deadline - time.monotonic())) for one in sent):
                return False
            with self._lock:
                orphan.taken(time.monotonic())
        return True

    def _forget(self) -> None:
        """Strike out what is done, and what has waited for too long."""
        before_s = time.time() - _FORGET_S
        with self._database.lock:
            rows = self._database.connection.execute(
                "SELECT device, declared FROM declarations WHERE gone_s < ?", (before_s,)
            )
            late = {tuple(row) for row in rows}
        with self._lock:
            ended = [one for one in self._orphans if one.done or (one.device.name, one.declared) in late]
        if not ended:
            return
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM declarations WHERE device = ? AND declared = ?",
                [(one.device.name, one.declared) for one in ended],
            )
        with self._lock:
            self._orphans = [one for one in self._orphans if one not in ended]
        for one in ended:
            if one.waiting:
                self._log.error("not known to be off, and forgotten", device=one.device.name, pins=sorted(one.waiting))
            else:
                self._log.info("declared no more, and released", device=one.device.name)

    def _message(self, message: Received) -> None:
        payload, retained = bytes(message.payload), bool(message.retain)
        with self._lock:
            for orphan, one in self._said(message.topic, payload):
                if orphan.heard(one, retained=retained):
                    self._next_s = 0.0

    def _said(self, topic: str, payload: bytes) -> Iterator[tuple[Orphan, Heard]]:
        for orphan in self._orphans:
            read = orphan.device.firmware.reads.get(topic)
            try:
                found: Collection[Heard] = read(payload) if read else ()
            except ValueError:  # nonsense: nothing that anybody waits for
                continue
            for one in found:
                yield orphan, one

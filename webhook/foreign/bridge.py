"""The bridge: declared devices on one side, their twins on the other, on a connection of its own.

Its own, so that a message of other firmware at which the broker hangs up takes
nothing of Pinloop's with it. It speaks for the declared devices only: the
broker's rights for the user svc.webhook are made from the same file.
"""

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from contract.errors import ContractError
from contract.topics import PIN_SET, Topics
from service import logs
from service.mqtt import Message as Received
from service.mqtt import NotConnected, Publication, Session
from service.settings import MqttSettings
from webhook import metrics
from webhook.commands import Commands, Pin
from webhook.database import Database
from webhook.foreign.model import Device, Message
from webhook.foreign.orphans import Orphans
from webhook.foreign.twin import Twin
from webhook.quarantine import Quarantine

__all__ = ["Bridge", "Bridges"]

_TICK_S = 0.2
# After a broker that lost its retained messages has come back, the webhook has sent its commands anew by then.
_SETTLE_S = 5.0


class Bridge:
    """Runs the twins of one set of devices.

    Args:
        ended_s: returns when the end of what an earlier process commanded at a (device, pin) was reported, in seconds
            of the monotonic clock; inf: it may still hold the pin; -inf: nothing was commanded.
    """

    def __init__(
        self,
        settings: MqttSettings,
        topics: Topics,
        devices: Mapping[str, Device],
        ended_s: Callable[[Pin], float],
        quarantine: Quarantine,
    ) -> None:
        self.devices = devices
        self._topics = topics
        self._quarantine = quarantine
        self._log = logs.get("foreign")
        self._lock = threading.Lock()
        self._twins = {
            name: Twin(device, topics, {pin: ended_s((name, pin)) for pin in device.pins}, time.monotonic())
            for name, device in devices.items()
        }
        # Several devices may share a topic: a custom one may read what a gateway says of all.
        self._readers: dict[str, list[Twin]] = {}
        for twin in self._twins.values():
            for topic in twin.device.firmware.reads:
                self._readers.setdefault(topic, []).append(twin)
        sets = [topics.build(PIN_SET, name, pin) for name, device in devices.items() for pin in device.pins]
        self._session = Session(
            settings,
            "webhook-foreign",
            subscriptions=[(topic, 1) for topic in (*sets, *self._readers)],
            on_message=self._message,
            on_connected=self._connected,
            on_disconnected=quarantine.disconnected,
        )
        self._last: dict[str, Publication | None] = {}  # topic -> its last message; None: it did not leave
        self._new_link = False
        self._settle_at = math.inf
        self._failure = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="foreign", daemon=True)

    def start(self) -> None:
        """Connect, in the background."""
        self._session.start()
        self._thread.start()

    def stop(self) -> None:
        """Disconnect; the devices stay as they are."""
        self._stop.set()
        self._thread.join(timeout=5)
        self._session.stop()

    def problem(self) -> str | None:
        """Say what is wrong, None when the connection stands and leases are looked after."""
        return self._session.problem() or self._failure or None

    def _connected(self) -> None:
        with self._lock:
            lost = {topic for topic, last in self._last.items() if last is None or not last.wait(0)}
            for twin in self._twins.values():
                twin.forget(lost)
            self._settle_at = math.inf
            self._new_link = True  # greeted when the broker has granted the subscriptions

    def tick(self) -> None:
        """End the leases that are over, and greet, and settle when that is due; called by its own thread."""
        with self._lock:
            now_s = time.monotonic()
            failure: Exception | None = None
            for twin in self._twins.values():
                try:
                    self._publish(twin.tick(now_s))
                except Exception as error:  # noqa: BLE001  (a bug with one: the leases of the others have to end)
                    failure = error
            if self._new_link and self._session.connected:
                self._new_link, self._settle_at = False, now_s + _SETTLE_S
                self._publish([message for twin in self._twins.values() for message in twin.greet()])
            if now_s >= self._settle_at and self._session.connected:
                self._settle_at = math.inf
                self._publish([message for twin in self._twins.values() for message in twin.settle()])
            if failure:
                raise failure

    def _run(self) -> None:
        while not self._stop.wait(_TICK_S):
            try:
                self.tick()
                self._failure = ""
            except Exception as error:  # noqa: BLE001  (it is looked at again)
                if not self._failure:
                    self._log.exception("looking after other firmware failed")
                self._failure = f"{type(error).__name__}: {error}"

    def _message(self, message: Received) -> None:
        payload, retained = bytes(message.payload), bool(message.retain)
        with self._lock:
            for twin in self._readers.get(message.topic, ()):
                try:
                    self._publish(twin.heard(message.topic, payload, retained))
                except ValueError as error:  # ContractError is one, and so is bad UTF-8
                    self._refused(twin.device.name, message.topic, error)
            if message.topic not in self._readers:
                topic = self._topics.parse(message.topic)
                try:
                    self._publish(self._twins[topic.device].asked(topic.name, payload, retained, time.monotonic()))
                except ContractError as error:
                    self._refused(topic.device, message.topic, error)

    def _refused(self, device: str, topic: str, error: Exception) -> None:
        metrics.FOREIGN_REFUSED.labels(device).inc()
        self._log.debug("message not understood", device=device, topic=topic, error=str(error))

    def _publish(self, messages: Iterable[Message]) -> None:
        """Send what the quarantine does not hold; called with the lock held."""
        for message in messages:
            self._last[message.topic] = None
            if self._quarantine.holds(message.topic):
                continue
            try:
                publication = self._session.publish(message.topic, message.payload, qos=1, retain=message.retain)
            except NotConnected:
                continue  # nothing is queued: the webhook sends what then holds once the twins have greeted
            self._quarantine.sent(message.topic, publication)
            self._last[message.topic] = publication


class Bridges:
    """The bridge of the devices that are declared now, none while there are none, and what others have left behind.

    Attributes:
        quarantine: of what is sent to devices of other firmware.
    """

    def __init__(self, settings: MqttSettings, topics: Topics, database: Database, commands: Commands) -> None:
        self.quarantine = Quarantine("foreign")
        self._settings = settings
        self._topics = topics
        self._database = database
        self._commands = commands
        self._bridge: Bridge | None = None
        self._devices: Mapping[str, Device] | None = None  # before the first
        self._failure = ""  # of the database, when the devices were last followed
        self._orphans = Orphans(settings, topics, database, self._engaged)

    def follow(self, devices: Mapping[str, Device]) -> None:
        """Run the twins of these devices from now on."""
        if self._devices is not None and dict(devices) == dict(self._devices):
            return
        if self._bridge:
            self._bridge.stop()
        self._devices = devices
        self.quarantine.pardon()
        inherited: set[Pin] = set()
        self._failure = ""
        try:
            inherited = self._orphans.follow(devices)
        except sqlite3.Error as error:  # a full disk: those that are declared are commanded all the same
            self._failure = f"what was taken out of it may be on ({error}): start the webhook again when that is mended"
        self._bridge = (
            Bridge(
                self._settings,
                self._topics,
                devices,
                lambda pin: math.inf if pin in inherited else self._ended_s(pin),
                self.quarantine,
            )
            if devices
            else None
        )
        if self._bridge:
            self._bridge.start()

    def stop(self) -> None:
        """Disconnect."""
        self._orphans.stop()
        if self._bridge:
            self._bridge.stop()

    def problem(self) -> str | None:
        """Say what is wrong, None when all is well or nothing is declared; a check for `Health`."""
        bridge = self._bridge
        return bridge.problem() if bridge else None

    def warning(self) -> str | None:
        """Say which pins are declared no more and not known to be safe yet; a check for `Health`."""
        return self._failure or self._orphans.problem()

    def _engaged(self, pin: Pin) -> bool:
        """Tell whether a command that was sent may still hold the pin; what was only rehearsed holds nothing."""
        with self._database.lock:
            return self._commands.may_hold(pin)

    def _ended_s(self, pin: Pin) -> float:
        if self._engaged(pin):
            return math.inf
        with self._database.lock:
            ended_s = self._commands.ended_s(pin)
        ago_s = time.time() - ended_s if ended_s is not None else math.inf
        return time.monotonic() - (ago_s if ago_s >= 0 else math.inf)  # a clock that was set back tells nothing

    def held(self, pin: Pin) -> str:
        """Say why nothing is sent to the pin for a while, "" when it is."""
        bridge = self._bridge
        device = bridge.devices.get(pin[0]) if bridge else None
        if device is None or pin[1] not in device.pins:
            return ""
        topics = {message.topic for message in device.firmware.command(pin[1], 1, 1)}
        return self.quarantine.reason(topics)

"""The MQTT session of a service: one connection for its life, back again by itself.

Keeps what every session of ours needs: TCP_NODELAY (small packets wait 40 ms
for a delayed ACK otherwise), a fixed client id, subscriptions on every connect
(also with a session: the broker may have forgotten it), reconnects with jitter,
and callbacks whose exceptions are logged and counted, never fatal.
"""

import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from prometheus_client import Counter, Gauge

from service import logs, tls
from service.block_client import BlockClient, unusable
from service.errors import SettingsError
from service.flights import Outgoing
from service.packets import MOST_TOPIC_CHARS, Received, acknowledgements
from service.settings import MqttSettings

__all__ = ["Batches", "Message", "NotConnected", "Outgoing", "Publication", "Session"]

Message = paho.MQTTMessage

_FIRST_DELAY_S = 0.2
# Short: a service that is away after a broker's restart is a loop that stands still, and there are only a few of them.
_LONGEST_DELAY_S = 2.0
# A connection that stands is not asked again: an ended certificate shows at the next connect, when it is too late.
_ENDS_SOON = timedelta(days=30)

CONNECTED = Gauge("mqtt_connected", "1 while the session with the broker stands.", ["session"])
CONNECTS = Counter("mqtt_connects_total", "Times that the broker accepted a connection.")
CERTIFICATE_ENDS = Gauge("mqtt_certificate_ends_seconds", "End of the broker's certificate, since 1970; 0: no TLS.")
CALLBACK_ERRORS = Counter("mqtt_callback_errors_total", "Exceptions in message handlers.")


@dataclass(frozen=True)
class Batches:
    """How a session that takes many messages gets them; they are acknowledged by `Session.ack` alone.

    Attributes:
        deliver: called on the network thread with messages in their order.
        room: waits up to so many seconds and tells whether more may be delivered; until then the broker is not read.
        reader: "block" (`service.block_client`), "stock" (paho as it comes), or "auto": block where it is possible.
        rest_s: how long the block reader waits after a block that was not large: for throughput, at that much latency.
    """

    deliver: Callable[[list[Received]], object]
    room: Callable[[float], bool]
    reader: str = "auto"
    rest_s: float = 0.0


class NotConnected(Exception):  # noqa: N818  (a state, like queue.Empty)
    """There is no connection: nothing was sent, and nothing is queued for later."""


class Publication(Protocol):
    """A message on its way to the broker."""

    def wait(self, timeout_s: float) -> bool:
        """Return whether the broker's PUBACK came (QoS 0: whether it was written) within `timeout_s` seconds."""


class _PahoPublication:
    def __init__(self, info: paho.MQTTMessageInfo) -> None:
        self._info = info

    def wait(self, timeout_s: float) -> bool:
        try:
            self._info.wait_for_publish(timeout_s)
        except (RuntimeError, ValueError):  # the connection went away under it
            return False
        return self._info.is_published()


class Session:
    """A service's connection to the broker.

    Args:
        settings: where the broker is.
        name: the service; the client id is `<prefix>-<name>`, fixed.
        subscriptions: (filter, QoS), made anew on every connect.
        on_message: called for each message on the network thread.
        batches: instead of `on_message`, for many messages.
        on_connected: called on the network thread after the subscriptions were sent.
        on_disconnected: called on the network thread when the connection ends.
        persistent: the broker keeps the session and queues QoS 1 messages while the service is away.
        max_inflight: most QoS 1 messages of ours without PUBACK, unless it is fast.
        fast: read and write many messages at once, where this paho-mqtt allows it; `on_message` gets a `Received`.

    Attributes:
        client_id: by which the broker knows it.
        refusal: why the broker or we refuse the connection, "" when it stands or nobody answers.

    Raises:
        SettingsError: the CA's certificate cannot be used, or the reader that was asked for is not possible.
    """

    def __init__(
        self,
        settings: MqttSettings,
        name: str,
        *,
        subscriptions: Sequence[tuple[str, int]] = (),
        on_message: Callable[[Any], None] | None = None,
        batches: Batches | None = None,
        on_connected: Callable[[], None] | None = None,
        on_disconnected: Callable[[], None] | None = None,
        persistent: bool = False,
        max_inflight: int = 1000,
        fast: bool = False,
    ) -> None:
        self.address = f"{settings.mqtt_host}:{settings.mqtt_port}"
        self.refusal = ""
        self._settings = settings
        self._name = name
        CONNECTED.labels(name).set(0)
        self._subscriptions = list(subscriptions)
        self._handle = on_message
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._up = threading.Event()
        self._failures = 0
        self._stopping = False
        self._session_present = False  # the broker had kept what was subscribed to, and what came
        self._accepted = False  # the broker has accepted the connection; it may not have granted the subscriptions yet
        self._log = logs.get("mqtt")
        self._batches = Batches(self._deliver_each, lambda _timeout_s: True) if fast else batches
        self._link = 0  # the number of the connection
        self._acking = threading.Lock()
        self.client_id = f"{settings.mqtt_prefix.replace('/', '-')}-{name}"
        self._client = client = self._make(self.client_id, not persistent)
        client.max_inflight_messages_set(max_inflight)
        if settings.mqtt_user:
            client.username_pw_set(settings.mqtt_user, settings.mqtt_password)
        if settings.mqtt_ca_path.name:
            client.tls_set_context(tls.trusting(settings.mqtt_ca_path))
        client.on_socket_open = self._socket_opened
        client.on_connect = self._connected
        client.on_connect_fail = self._failed
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._disconnected
        client.on_message = self._message

    def start(self) -> None:
        """Connect in the background, for ever; returns at once."""
        self._back_off()
        self._client.connect_async(self._settings.mqtt_host, self._settings.mqtt_port, self._settings.mqtt_keepalive_s)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect cleanly; the broker does not publish a will."""
        self._stopping = True
        self._client.disconnect()
        self._client.loop_stop()
        self._up.clear()
        CONNECTED.remove(self._name)  # one that ended on purpose is not down

    @property
    def connected(self) -> bool:
        """Whether the connection stands and the broker has granted the subscriptions."""
        return self._up.is_set()

    def wait_connected(self, timeout_s: float) -> bool:
        """Return whether the connection stood within `timeout_s` seconds."""
        return self._up.wait(timeout_s)

    def problem(self) -> str | None:
        """Say what is wrong with the connection, None when it stands; a check for `Health`."""
        if self.connected:
            return None
        return f"not connected to {self.address}" + (f": {self.refusal}" if self.refusal else "")

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> Publication:
        """Send a message.

        Raises:
            NotConnected: there is no connection; the caller knows better than a hidden queue what is still true later.
        """
        if qos == 1 and isinstance(self._client, BlockClient):
            return self.publish_all([Outgoing(topic, payload, retain)])[0]
        if not self.connected:
            raise NotConnected(self.problem())
        info = self._client.publish(topic, payload, qos, retain)
        if info.rc == MQTTErrorCode.MQTT_ERR_NO_CONN:
            raise NotConnected(self.problem())
        return _PahoPublication(info)

    def publish_all(self, messages: Sequence[Outgoing]) -> Sequence[Publication]:
        """Send messages at QoS 1, in their order; for a session with `fast` they leave as one.

        Raises:
            NotConnected: there is no connection; nothing was sent, unless it ended between two of them.
        """
        if not isinstance(self._client, BlockClient):
            return [self.publish(one.topic, one.payload, 1, one.retain) for one in messages]
        with self._acking:  # the connection does not change meanwhile
            if not self.connected:
                raise NotConnected(self.problem())
            packets, flights = self._client.flights.depart(messages)
            self._client.send(packets)
        return flights

    def ack(self, received: Iterable[Received]) -> None:
        """Acknowledge messages that came in batches, in the order in which they came; from any thread.

        Those of an earlier connection are left out: the broker delivers them again, and packet ids begin anew with
        each connection, so theirs may by now belong to messages that nobody has stored.
        """
        with self._acking:  # a connection that ends meanwhile takes with it what it has not sent
            if isinstance(self._client, BlockClient):
                if packets := acknowledgements(received, self._link):
                    self._client.send(packets)
                return
            for one in received:
                if one.link == self._link:
                    self._client.ack(one.mid, one.qos)

    def _make(self, client_id: str, clean: bool) -> paho.Client:
        options: dict[str, Any] = {
            "client_id": client_id,
            "clean_session": clean,
            "manual_ack": self._batches is not None,
        }
        if self._batches and self._batches.reader != "stock":
            reason = unusable()
            if not reason:
                batches = self._batches
                return BlockClient(partial(self._guarded, batches.deliver), batches.room, batches.rest_s, **options)
            if self._batches.reader == "block":
                raise SettingsError(f"mqtt_reader: 'block' does not go with this paho-mqtt: {reason} has changed")
            self._log.warning("paho-mqtt has changed, messages are read one by one", changed=reason)
        return paho.Client(CallbackAPIVersion.VERSION2, **options)

    def _renew_link(self) -> None:
        with self._acking:
            self._link += 1
            if isinstance(self._client, BlockClient):
                self._client.link = self._link
                self._client.flights.lost()

    def _back_off(self) -> None:
        # paho doubles the delay without jitter: a fleet of services would come back in step. Giving it our own
        # delay each time keeps its loop and takes only that decision.
        ceiling = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2**self._failures)
        delay: Any = random.uniform(ceiling / 2, ceiling)  # noqa: S311  (jitter is no secret)
        self._client.reconnect_delay_set(min_delay=delay, max_delay=delay)

    def _socket_opened(self, _client: Any, _userdata: Any, sock: Any) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # the far side is already gone; the loop will notice
            self._log.debug("no TCP_NODELAY", broker=self.address)

    def _connected(self, client: paho.Client, _userdata: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._failures += 1
            self.refusal = f"the broker refuses: {reason}"
            self._log.warning("broker refuses", broker=self.address, reason=str(reason), user=self._settings.mqtt_user)
            return
        self._failures = 0
        self.refusal = ""
        self._back_off()
        self._renew_link()
        self._forget_unsent()
        self._accepted = True
        self._session_present = bool(flags.session_present)
        CONNECTS.inc()
        if self._subscriptions:
            client.subscribe(self._subscriptions)
        else:
            self._stands()
        self._note_certificate()
        if self._on_connected:
            self._guarded(self._on_connected)

    def _note_certificate(self) -> None:
        ends = tls.ends(self._client.socket())
        CERTIFICATE_ENDS.set(ends.timestamp() if ends else 0)
        if ends and ends - datetime.now(UTC) < _ENDS_SOON:
            self._log.warning("the broker's certificate ends soon", broker=self.address, ends=ends.isoformat())

    def _subscribed(self, _client: Any, _userdata: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        """Connected is who hears: what others publish before the SUBACK may pass us by."""
        answers = zip(self._subscriptions, reasons, strict=False)
        refused = [wanted for (wanted, _), reason in answers if reason.is_failure]
        if refused:
            self.refusal = f"the broker refuses the subscription to {', '.join(refused)}"
            self._log.warning("broker refuses subscriptions", broker=self.address, filters=refused)
        else:
            self._stands()

    def _stands(self) -> None:
        self._up.set()
        CONNECTED.labels(self._name).set(1)
        self._log.info("broker connected", broker=self.address, session_present=self._session_present)

    def _forget_unsent(self) -> None:
        """Drop what an earlier connection left unacknowledged.

        paho would send it again now, with or without a session: a command that was withdrawn meanwhile would switch
        its pin. It offers no way to say no, hence its private fields; tests/service/test_mqtt.py notices a change.
        Runs on the network thread before `connected` is true, so nothing of this connection is among it.
        """
        with self._client._out_message_mutex:
            self._client._out_messages.clear()
            self._client._inflight_messages = 0

    def _failed(self, _client: Any, _userdata: Any) -> None:
        before = self.refusal
        self._failures += 1
        self._back_off()
        # paho hands over no reason, but calls this while it handles the exception.
        self.refusal = tls.refusal(sys.exc_info()[1]) if self._settings.mqtt_ca_path.name else ""
        if self._failures == 1 or self.refusal != before:
            self._log.warning("broker not reachable", broker=self.address, reason=self.refusal or "no answer")

    def _disconnected(self, _client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        was_accepted, self._accepted = self._accepted, False
        self._renew_link()  # now, as paho forgets later what it has not sent: no ack slips into the next connection
        self._up.clear()
        CONNECTED.labels(self._name).set(0)
        self._back_off()
        if was_accepted and not self._stopping:
            self._log.warning("broker connection ended", broker=self.address, reason=str(reason))
            if self._on_disconnected:
                self._guarded(self._on_disconnected)

    def _message(self, _client: Any, _userdata: Any, message: Message) -> None:
        if self._batches:
            self._guarded(self._deliver_one, self._batches, message)
        elif self._handle:
            self._guarded(self._handle, message)

    def _deliver_one(self, batches: Batches, message: Message) -> None:
        try:
            topic = message.topic[: MOST_TOPIC_CHARS + 1]
        except UnicodeDecodeError:  # MQTT 3.1.1 forbids it, but not every broker looks
            topic = ""
        while not isinstance(self._client, BlockClient) and not batches.room(1.0):
            pass  # paho reads what its socket holds: the one way to stop it is to stay here
        payload = bytes(message.payload)
        batches.deliver(
            [Received(topic, payload, message.retain, message.qos, message.mid, self._link, time.time_ns())]
        )

    def _deliver_each(self, received: list[Received]) -> None:
        """Hand messages to `on_message`, one by one, and acknowledge them."""
        if self._handle:
            for one in received:
                self._guarded(self._handle, one)
        self.ack(received)

    def _guarded(self, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except Exception:  # noqa: BLE001  an exception would end paho's thread, and with it every later message
            CALLBACK_ERRORS.inc()
            self._log.exception("message handler failed", handler=getattr(function, "__qualname__", str(function)))

"""paho's client, reading large blocks: for a service that takes tens of thousands of messages a second.

paho reads a packet in three calls after one select, and takes several locks
for each message: 12 us. Here a block of up to 256 KB is read, its PUBLISH
packets are found at once (`service.packets`), and every other packet is handed
to paho, which keeps connecting, TLS, keepalive, QoS 2 and reconnecting. That
needs private parts of it: `unusable` looks whether they are as expected.
"""

import inspect
import struct
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes

from service.flights import Flights
from service.packets import MOST_PACKET_BYTES, PUBLISH, Malformed, Received, Scanner, header

__all__ = ["BlockClient", "unusable"]

_BLOCK_BYTES = 262144
_LARGE_BYTES = 16384  # some hundred messages: waking up for them costs little of them
_PUBACK = PacketTypes.PUBACK << 4
# TLS gives one record (16 KB) a call. Between so many calls paho writes and looks at its keepalive.
_BLOCKS_PER_TURN = 16
_PAUSE_S = 0.1

_IN_PACKET = {"command", "have_remaining", "remaining_count", "remaining_mult", "remaining_length", "packet",
              "to_process", "pos"}  # fmt: skip
_METHODS = {
    "_sock_recv": ["bufsize"],
    "_packet_handle": [],
    "_packet_queue": ["command", "packet", "mid", "qos", "info"],
    "_loop_rc_handle": ["rc"],
    "_loop": ["timeout"],
    "loop_read": ["max_packets"],
    "reconnect": [],
}
_FIELDS = ("_in_packet", "_out_packet", "_last_bytes_received", "_msgtime_mutex", "_ping_t", "_sock")


def unusable() -> str:
    """Return what of paho's private parts is not as `BlockClient` needs it, "" when all is."""
    for name, wanted in _METHODS.items():
        method = getattr(paho.Client, name, None)
        if method is None or list(inspect.signature(method).parameters)[1:] != wanted:
            return f"paho.Client.{name}"
    if not callable(getattr(paho, "time_func", None)):
        return "paho.time_func"
    client = paho.Client(CallbackAPIVersion.VERSION2)
    for name in _FIELDS:
        if not hasattr(client, name):
            return f"paho.Client.{name}"
    found = client._in_packet
    return "" if isinstance(found, dict) and set(found) == _IN_PACKET else "paho.Client._in_packet"


class BlockClient(paho.Client):
    """A client that delivers messages of QoS 0 and 1 in batches; those of QoS 2 come to `on_message` as ever.

    Args:
        deliver: called on the network thread with the messages of a block, in their order.
        room: waits up to so many seconds and tells whether more may be delivered. While it may not, the socket is not
            read, but what is to be sent is sent, and pings keep the connection.
        rest_s: how long to wait after a block that was not large, so that the next one holds more. A message that comes
            alone is delivered at once.
        options: paho's.

    Attributes:
        link: the number of the connection, put into every message; whoever owns the client counts.
        flights: the messages of ours that paho knows nothing of; whoever owns the client ends them with the connection.
    """

    def __init__(
        self,
        deliver: Callable[[list[Received]], object],
        room: Callable[[float], bool],
        rest_s: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **options)
        self.link = 0
        self.flights = Flights()
        self._deliver = deliver
        self._room = room
        self._rest_s = rest_s
        self._scanner = Scanner()
        self._begun = b""  # of a packet whose rest has not come
        self._skip_bytes = 0  # of a packet that was too large

    def reconnect(self) -> MQTTErrorCode:
        """Connect again; what was left of the packet in whose middle the connection ended is void."""
        self._begun = b""
        self._skip_bytes = 0
        return super().reconnect()

    def send(self, packets: bytes) -> None:
        """Send whole packets, of which paho knows nothing, as one; from any thread."""
        self._packet_queue(_PUBACK, packets, 0, 0)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002  (paho's signature)
        """Read what there is; called by paho when the socket is readable."""
        for _ in range(_BLOCKS_PER_TURN):
            if not self._room(0) and not self._room(_PAUSE_S):
                # The broker's answers wait behind messages that we do not read: their absence says nothing.
                self._heard()
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            if self._sock is None:
                return MQTTErrorCode.MQTT_ERR_NO_CONN
            try:
                block = self._sock_recv(_BLOCK_BYTES)
            except BlockingIOError:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            except OSError:
                block = b""
            if not block:
                return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            self._heard()
            try:
                rc = self._take(block)
            except Malformed:
                rc = MQTTErrorCode.MQTT_ERR_PROTOCOL
            if rc:
                return self._loop_rc_handle(rc)
            if not self._decrypted():
                if self._rest_s and len(block) < _LARGE_BYTES:
                    time.sleep(self._rest_s)
                break
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _heard(self) -> None:
        """Note a sign of life: any byte is one, and a PINGRESP may be behind a megabyte of messages."""
        with self._msgtime_mutex:
            self._last_bytes_received = paho.time_func()
        self._ping_t = 0

    def _decrypted(self) -> bool:
        """Tell whether TLS holds bytes that select does not see."""
        pending = getattr(self._sock, "pending", None)
        return bool(pending and pending())

    def _take(self, block: bytes) -> MQTTErrorCode:
        """Deliver the messages in what was read and hand the other packets to paho, all in their order.

        Raises:
            Malformed: it is not MQTT.
        """
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(block))
            self._skip_bytes -= skipped
            block = block[skipped:]
        data = self._begun + block if self._begun else block
        received_ns = time.time_ns()
        sock = self._sock
        at = 0
        while True:
            found: list[Received] = []
            try:
                at = self._scanner.scan(data, at, self.link, received_ns, found)
            finally:
                if found:
                    self._deliver(found)
            known = header(data, at) if at < len(data) else None
            if known is None:
                break
            start, length = known
            if start + min(length, MOST_PACKET_BYTES) > len(data):
                break
            stop = start + length
            if data[at] == _PUBACK and length == 2 and self.flights.landed(data[start] << 8 | data[start + 1]):
                at = stop
                continue
            rc = self._other(data[at], data[start : min(stop, start + MOST_PACKET_BYTES)], received_ns, length)
            if rc or self._sock is not sock:  # a callback has disconnected
                return rc
            self._skip_bytes = max(0, stop - len(data))
            at = min(stop, len(data))
        self._begun = data[at:]
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _other(self, first: int, body: bytes, received_ns: int, length: int) -> MQTTErrorCode:
        """Handle a packet that the scanner left: one that is cut, or paho's.

        Raises:
            Malformed: paho cannot read it, or it is too large and no PUBLISH.
        """
        if length > MOST_PACKET_BYTES and first & 0xF0 != PUBLISH:
            raise Malformed(f"a packet of {length} bytes")
        if length > MOST_PACKET_BYTES and first & 0xF4 == PUBLISH:
            found: list[Received] = []
            cut = bytes((first, *_REMAINING_MOST)) + body
            self._scanner.scan(cut, 0, self.link, received_ns, found)
            self._deliver(found)
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        packet = self._in_packet
        packet["command"], packet["have_remaining"], packet["remaining_length"] = first, 1, len(body)
        packet["packet"], packet["pos"] = bytearray(body), 0
        try:
            return self._packet_handle()
        except (MQTTException, struct.error, IndexError, ValueError) as error:
            raise Malformed(f"a packet of kind {first >> 4}: {error}") from error
        finally:
            packet["command"] = packet["have_remaining"] = 0


def _remaining(length: int) -> bytes:
    """Return a length as MQTT writes it (section 2.2.3)."""
    out = bytearray()
    while True:
        length, low = divmod(length, 128)
        out.append(low | (128 if length else 0))
        if not length:
            return bytes(out)


_REMAINING_MOST = _remaining(MOST_PACKET_BYTES)

"""An MQTT 3.1.1 client: QoS 0 and 1 both ways, last will, keepalive.

`serve` is one connection from beginning to end; whoever calls it decides when
to try again. Sessions are clean: what a broker kept while we were away would
arrive without the retain flag, as if it were new. A publication with an `acked`
callback is kept until its PUBACK and sent again (DUP) on the next connection;
one without is its owner's to repeat. Sections are of MQTT 3.1.1 (OASIS, 2014).
"""

import asyncio
import socket
from collections import OrderedDict

from micropython import const

from firmware.board import now_ms, trust

_CONNACK = const(0x20)
_PUBLISH = const(0x30)
_PUBACK = const(0x40)
_SUBSCRIBE = const(0x82)
_SUBACK = const(0x90)
_DUP = const(0x08)
_OPEN_S = const(10)
_CHUNK_BYTES = const(256)
# MBEDTLS_ERR_X509_CERT_VERIFY_FAILED: all that MicroPython 1.25 says of it; later versions raise ValueError with words.
_UNTRUSTED = const(-9984)
# A lookup that failed or took longer than _SLOW_MS is not repeated for _PATIENCE_MS while an address is known.
_SLOW_MS = const(1000)
_PATIENCE_MS = const(60000)
# Publications without PUBACK at a time; each is held in RAM.
_WINDOW = const(8)


class MqttError(OSError):
    """The broker refused us, went silent or broke the protocol."""


class Client:
    """A connection to a broker that comes and goes.

    Args:
        config: {"host", "port", "user", "password", "keepalive_s", "tls"}; "tls" is {"ca": file of the device}.
        client_id: as the broker knows us.
        will: topic and payload, published by the broker (QoS 1, retained) when we are gone.
        on_up: called when the broker has accepted us: the place to subscribe.
        on_message: called as (topic, payload, retained) for each message.
        max_bytes: longest packet taken; longer ones are acknowledged, skipped and counted in `oversized`.

    Attributes:
        connected: the broker has accepted us and the connection stands.
        heard_ms: when the broker was there last, by the device's clock; the start when it never was.
    """

    def __init__(self, config: dict, client_id: str, will: tuple, on_up, on_message, max_bytes: int) -> None:
        self._host = config["host"]
        self._tls = trust(config["tls"]["ca"]) if "tls" in config else None
        self._port = config.get("port", 8883 if self._tls else 1883)
        self._keepalive_s = config.get("keepalive_s", 20)
        self._hello = _connect_packet(client_id, will, config, self._keepalive_s)
        self._on_up = on_up
        self._on_message = on_message
        self._max_bytes = max_bytes
        self._address = None  # of the host, as found last: getaddrinfo stops the whole device while it asks
        self._ask_ms = 0  # from when on it may be asked again, None while the address works
        self._writer = None
        self._inflight = OrderedDict()  # packet id -> (topic and id, payload, acked), in the order of sending
        self._pid = 0
        self._ended = asyncio.Event()
        self._blocked = asyncio.Event()
        self._waiting = None  # packets behind a full socket, None while it takes them directly
        self._error = ""
        self.connected = False
        self.heard_ms = now_ms()
        self.oversized = 0

    def has_room(self) -> bool:
        """Tell whether one more publication with `acked` may be sent now."""
        return self.connected and len(self._inflight) < _WINDOW

    def publish(self, topic: str, payload, qos: int = 1, retain: bool = False, acked=None) -> None:
        """Send at once; without a connection do nothing.

        `acked` (QoS 1) is called when the PUBACK has come; with it `payload` is a function, called at each sending.
        """
        if not self.connected:
            return
        head = _text(topic)
        if qos:
            head += self._next_pid()
        if acked:
            self._inflight[self._pid] = (head, payload, acked)
            payload = payload()
        self._write(_packet(_PUBLISH | qos << 1 | int(retain), head + payload))

    def subscribe(self, topics) -> None:
        """Ask for exact topics at QoS 1."""
        if topics:
            self._write(_packet(_SUBSCRIBE, self._next_pid() + b"".join(_text(topic) + b"\x01" for topic in topics)))

    def drop(self, error: str) -> None:
        """End the connection now."""
        self._error = error
        self._ended.set()

    async def serve(self, beat) -> None:
        """Connect and stay until the connection ends; calls `beat` every half keepalive while it stands.

        Raises:
            OSError: always, with why it ended.
        """
        try:
            reader, self._writer = await asyncio.wait_for(self._open(), _OPEN_S)
        except (OSError, asyncio.TimeoutError) as error:
            if self._ask_ms is None:
                self._ask_ms = now_ms()
            raise MqttError("cannot connect: " + repr(error))
        self._ended.clear()
        self._blocked.clear()
        self._waiting = None
        # Closing does not wake a reader on MicroPython, so both tasks are cancelled at the end.
        tasks = [asyncio.create_task(self._guard(work)) for work in (self._read(reader), self._drain())]
        try:
            self._write(self._hello)
            await self._watch(beat)
        finally:
            self.connected = False
            for task in tasks:
                task.cancel()
            await _close(self._writer)

    async def _open(self):
        self._look_up()
        reader, writer = await asyncio.open_connection(self._address, self._port)
        self._ask_ms = None
        if hasattr(writer, "s"):  # MicroPython; CPython's asyncio sets it by itself
            try:
                writer.s.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY: without it small packets wait 40 ms
            except Exception:
                pass  # the port cannot
            if self._tls:  # the handshake comes with the first packet; what it raises ends the connection
                writer.s = self._tls.wrap_socket(writer.s, server_hostname=self._host, do_handshake_on_connect=False)
        elif self._tls:
            await writer.start_tls(self._tls, server_hostname=self._host)
        return reader, writer

    def _look_up(self) -> None:
        """Ask for the host's address after a failure; the old one stays when there is no answer."""
        began_ms = now_ms()
        if self._address and (self._ask_ms is None or began_ms < self._ask_ms):
            return
        failed = False
        try:
            found = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM)[0][-1]
            self._address = found[0] if isinstance(found, tuple) else self._host
        except OSError:
            failed = True
            if not self._address:
                raise
        ended_ms = now_ms()
        if failed or ended_ms - began_ms > _SLOW_MS:
            self._ask_ms = ended_ms + _PATIENCE_MS

    async def _watch(self, beat) -> None:
        """Ping every half keepalive; nothing heard since the last ping means that the link is dead."""
        began_ms = asked_ms = now_ms()
        while True:
            try:
                await asyncio.wait_for(self._ended.wait(), self._keepalive_s / 2)
                break
            except asyncio.TimeoutError:
                pass
            if self.heard_ms < asked_ms and (self.connected or now_ms() - began_ms >= _OPEN_S * 1000):
                raise MqttError("the broker is silent")
            if not self.connected:  # TLS takes a chip seconds, and a short keepalive must not end that
                continue
            beat()
            asked_ms = now_ms()
            self._write(b"\xc0\x00")  # PINGREQ
        raise MqttError(self._error)

    async def _guard(self, work) -> None:
        """Run one of the connection's tasks; whatever ends it ends the connection."""
        try:
            await work
        except Exception as error:
            self.drop("the broker's certificate is refused" if error.args == (_UNTRUSTED,) else repr(error))

    async def _read(self, reader) -> None:
        buffer = b""
        skip = 0
        while True:
            data = await reader.read(_CHUNK_BYTES)
            left = data[skip:]
            skip -= len(data) - len(left)
            buffer, skipped = self._take(buffer + left)
            skip += skipped
            if self.connected:  # a broker that refuses us, or a proxy that closes at once, is not there
                self.heard_ms = now_ms()
            if not data:
                raise MqttError("the broker closed the connection")

    def _take(self, buffer: bytes) -> tuple:
        """Handle the whole packets in `buffer`; return what is left of it, and how many bytes to skip after it."""
        while len(buffer) > 1:
            size, start = _length(buffer)
            end = start + size
            if start and size > self._max_bytes:  # section 3.3.2: topic, packet id
                if len(buffer) < start + 2:
                    break
                head = start + 4 + (buffer[start] << 8 | buffer[start + 1])
                if len(buffer) < head:
                    break
                self.oversized += 1
                if buffer[0] & 6:
                    self._write(b"\x40\x02" + buffer[head - 2 : head])
                if len(buffer) < end:
                    return b"", end - len(buffer)
            elif not start or len(buffer) < end:
                break
            else:
                self._handle(buffer[0], buffer[start:end])
            buffer = buffer[end:]
        return buffer, 0

    def _handle(self, first: int, body: bytes) -> None:
        kind = first & 0xF0
        if kind == _PUBLISH:
            end = 2 + (body[0] << 8 | body[1])
            topic = body[2:end].decode()
            pid = body[end : end + 2] if first & 6 else b""
            self._on_message(topic, body[end + len(pid) :], bool(first & 1))
            if pid:
                self._write(b"\x40\x02" + pid)
        elif kind == _PUBACK:
            entry = self._inflight.pop(body[0] << 8 | body[1], None)
            if entry:
                entry[2]()
        elif kind == _CONNACK:
            if body[1]:
                raise MqttError("the broker refuses us, code " + str(body[1]))
            self.connected = True
            for head, payload, _ in list(self._inflight.values()):
                self._write(_packet(_PUBLISH | 2 | _DUP, head + payload()))
            self._on_up()
        elif kind == _SUBACK and any(code & 0x80 for code in body[2:]):
            print("mqtt: the broker refuses a subscription")

    def _next_pid(self) -> bytes:
        while True:
            self._pid = self._pid % 65535 + 1
            if self._pid not in self._inflight:
                return self._pid.to_bytes(2, "big")

    def _write(self, packet: bytes) -> None:
        if self._waiting is not None:
            self._waiting.append(packet)
            return
        try:
            self._writer.write(packet)
        except (OSError, ValueError) as error:  # ValueError: a certificate is refused
            self.drop(str(error))
        if getattr(self._writer, "out_buf", b""):  # MicroPython: the socket is full
            self._waiting = []
            self._blocked.set()

    async def _drain(self) -> None:
        """Empty what a full socket left; MicroPython's drain() loses what is written while it runs."""
        while True:
            await self._blocked.wait()
            self._blocked.clear()
            await self._writer.drain()
            while self._waiting:
                packets = b"".join(self._waiting)
                self._waiting = []
                self._writer.write(packets)
                await self._writer.drain()
            self._waiting = None


def _connect_packet(client_id: str, will: tuple, config: dict, keepalive_s: int) -> bytes:
    """Section 3.1: clean session, will with QoS 1 and retain, user and password when there is a user."""
    topic, payload = will
    user = config.get("user", "")
    flags = 0x2E | (0xC0 if user else 0)
    body = b"\x00\x04MQTT\x04" + bytes([flags]) + keepalive_s.to_bytes(2, "big")
    body += _text(client_id) + _text(topic) + _text(payload)
    if user:
        body += _text(user) + _text(config.get("password", ""))
    return _packet(0x10, body)


def _text(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def _packet(first: int, body: bytes) -> bytes:
    """Put the fixed header before `body` (section 2.2.3)."""
    size = len(body)
    head = bytes([first])
    while size > 127:
        head += bytes([size & 127 | 128])
        size >>= 7
    return head + bytes([size]) + body


def _length(buffer: bytes) -> tuple:
    """Return the remaining length and where it begins to count; (0, 0) when its bytes are not all there."""
    size = shift = 0
    for start in range(1, min(5, len(buffer))):
        size |= (buffer[start] & 127) << shift
        if buffer[start] < 128:
            return size, start + 1
        shift += 7
    if len(buffer) > 4:
        raise MqttError("bad length")
    return 0, 0


async def _close(writer) -> None:
    if hasattr(writer, "transport"):  # CPython: close() would wait for a peer that takes nothing
        writer.transport.abort()
    else:
        await writer.wait_closed()

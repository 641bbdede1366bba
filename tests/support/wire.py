"""A broker that says exactly the bytes that a test wants, for what no real broker does on purpose."""

import contextlib
import socket
from collections.abc import Iterator

from tests.support.ports import free_port

__all__ = ["Wire", "packet", "publish"]

CONNACK = b"\x20\x02\x00\x00"


def packet(first: int, body: bytes) -> bytes:
    """Return an MQTT packet with its length (MQTT 3.1.1, section 2.2.3)."""
    length, out = len(body), bytearray((first,))
    while True:
        length, low = divmod(length, 128)
        out.append(low | (128 if length else 0))
        if not length:
            return bytes(out) + body


def publish(
    topic: bytes, payload: bytes, mid: int = 0, qos: int | None = None, retain: bool = False, dup: bool = False
) -> bytes:
    """Return a PUBLISH; with a packet id its QoS is 1 unless it is said."""
    qos = (1 if mid else 0) if qos is None else qos
    body = len(topic).to_bytes(2) + topic + (mid.to_bytes(2) if qos else b"") + payload
    return packet(0x30 | dup << 3 | qos << 1 | retain, body)


class Wire:
    """Listens on a port; takes one client at a time."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._server.settimeout(5)
        self._client: socket.socket | None = None
        self._packets: Iterator[tuple[int, bytes]] = iter(())

    def accept(self) -> None:
        """Take the next connection, up to the SUBACK."""
        self.cut()
        self._client, _ = self._server.accept()
        self._client.settimeout(5)
        self._packets = self._read()
        assert next(self._packets)[0] == 0x10
        self._client.sendall(CONNACK)
        first, body = next(self._packets)
        assert first == 0x82
        self._client.sendall(packet(0x90, body[:2] + b"\1"))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self._client
        self._client.sendall(data)

    def next(self) -> tuple[int, bytes]:
        """Return (first byte, body) of the client's next packet; StopIteration when it has closed."""
        return next(self._packets)

    def cut(self) -> None:
        """End the connection, in the middle of whatever was said."""
        if self._client:
            with contextlib.suppress(OSError):  # the client was first
                self._client.shutdown(socket.SHUT_RDWR)  # the file that reads from it would keep it open
            self._client.close()
            self._client = None

    def close(self) -> None:
        """End everything."""
        self.cut()
        self._server.close()

    def _read(self) -> Iterator[tuple[int, bytes]]:
        assert self._client
        file = self._client.makefile("rb")
        while head := file.read(1):
            length = file.read(1)[0]  # all that our clients send is short, but for CONNECT and SUBSCRIBE
            if length > 127:
                length = length - 128 + 128 * file.read(1)[0]
            yield head[0], file.read(length)

"""A link between a client and a broker that the test may cut, or let fall silent while TCP stays open."""

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Iterator

__all__ = ["Link", "link_to"]

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing is an RST, as when an access point forgets its clients


class Link:
    """Passes bytes on in both directions.

    Attributes:
        port: where it listens, on 127.0.0.1.
        connections: how many it has taken.
    """

    def __init__(self, to_port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._server.getsockname()[1])
        self.connections = 0
        self._to_port = to_port
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stall(self) -> None:
        """Pass nothing on from now on; nobody is told."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass everything on again, what waited first."""
        self._flows.set()

    def cut(self) -> None:
        """End every connection with a reset."""
        with self._lock:
            for one in list(self._pairs):
                self._end(one)

    def close(self) -> None:
        self._ending = True
        self.flow()
        self._thread.join(5)
        self.cut()
        self._server.close()

    def _run(self) -> None:
        while not self._ending:
            self._flows.wait()
            with self._lock, selectors.DefaultSelector() as selector:
                for one in (self._server, *self._pairs):
                    selector.register(one, selectors.EVENT_READ)
                for key, _ in selector.select(0.01):
                    one = key.fileobj
                    assert isinstance(one, socket.socket)
                    if one is self._server:
                        self._accept()
                    elif one in self._pairs:
                        self._pass_on(one)

    def _accept(self) -> None:
        client, _ = self._server.accept()
        self.connections += 1
        try:
            broker = socket.create_connection(("127.0.0.1", self._to_port), 1)
        except OSError:
            client.close()
            return
        for one in (client, broker):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._pairs[client], self._pairs[broker] = broker, client

    def _pass_on(self, one: socket.socket) -> None:
        try:
            data = one.recv(65536)
            if data:
                self._pairs[one].sendall(data)
                return
        except OSError:
            pass
        self._end(one)

    def _end(self, one: socket.socket) -> None:
        other = self._pairs.pop(one, None)
        if other:
            self._pairs.pop(other, None)
            other.close()
        one.close()


@contextlib.contextmanager
def link_to(port: int) -> Iterator[Link]:
    """Run a link to the broker on `port` for the length of a `with` block."""
    link = Link(port)
    try:
        yield link
    finally:
        link.close()

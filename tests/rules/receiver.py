"""A real HTTP receiver in the place of the webhook; it may go away and come back on the same port."""

import base64
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.ports import free_port

PASSWORD = "alerts-password"


class Receiver:
    """Takes POST /alert.

    Attributes:
        bodies: what came and was answered 200, in order.
        came_s: when, by the clock that never jumps.
        asked: how many requests came, the refused ones too.
        connections: the far ends of the connections that were used.
        status: what is answered to a request with the right password.
        answer: the body of the answer.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.bodies: list[dict[str, Any]] = []
        self.came_s: list[float] = []
        self.asked = 0
        self.connections: set[object] = set()
        self.status = 200
        self.answer = b'{"ok":true,"results":[]}'
        self.open: list[socket.socket] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alert"

    def start(self) -> None:
        """Listen."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Go away: nothing listens any more, and open connections are cut."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self.cut()
            self._server = None

    def cut(self) -> None:
        """End the open connections, as a server does with idle ones."""
        while self.open:
            try:
                self.open.pop().shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that came, in order."""
        return [alert for body in self.bodies for alert in body["alerts"]]

    def states(self) -> list[str]:
        """Return the status of every alert that came, in order."""
        return [alert["status"] for alert in self.alerts]


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    expected = "Basic " + base64.b64encode(f"alerts:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            receiver.open.append(self.connection)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came_s = time.monotonic()
            receiver.asked += 1
            status = receiver.status if self.headers["Authorization"] == expected else 401
            if status == 200 and self.path == "/alert":
                receiver.connections.add(self.client_address)
                receiver.came_s.append(came_s)
                receiver.bodies.append(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(receiver.answer)))
            self.end_headers()
            self.wfile.write(receiver.answer)

        def log_message(self, *_: object) -> None:
            pass

    return Handler

"""`python -m rules` as a process: a real broker, a real HTTP receiver that goes away and comes back."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.support.broker import Broker, Client
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.wait import until

PASSWORD = "alerts-password"
TOPIC = "pinloop/pot/reading/pot"

RULES = """
version: 1
rules:
  - name: too-bright
    when: pot > 80
    clear: pot < 70
    then: [lights/red = 1, lights/green = 0]
"""


class Receiver:
    """The webhook's /alert as far as rules can see it; it may go away and come back on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.bodies: list[dict[str, Any]] = []
        self.came_s: list[float] = []
        self.connections: set[object] = set()
        self.status = 200
        self._server: ThreadingHTTPServer | None = None
        self._open: list[socket.socket] = []

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                receiver._open.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                came_s = time.monotonic()
                expected = "Basic " + base64.b64encode(f"alerts:{PASSWORD}".encode()).decode()
                status = receiver.status if self.headers["Authorization"] == expected else 401
                self.send_response(status)
                answer = b'{"ok":true,"results":[]}'
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                if status == 200:
                    assert self.path == "/alert"
                    receiver.connections.add(self.client_address)
                    receiver.came_s.append(came_s)
                    receiver.bodies.append(json.loads(body))

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Go away: nothing listens any more, and open connections are cut."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self._open.clear()
            self._server = None

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that came, in order."""
        return [alert for body in self.bodies for alert in body["alerts"]]

    def states(self) -> list[str]:
        """Return the status of every alert that came, in order."""
        return [alert["status"] for alert in self.alerts]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    one.start()
    yield one
    one.stop()


class Service:
    """`python -m rules` with a rules file and a state of the test's own; it can be started again."""

    def __init__(self, folder: Path, broker: Broker, receiver: Receiver, spawn: Callable[..., Child]) -> None:
        self.file = folder / "rules.yml"
        self.file.write_text(RULES)
        self.port = free_port()
        self._spawn = spawn
        self.environment = {
            **broker.environment(),
            "PINLOOP_RULES_HTTP_PORT": str(self.port),
            "PINLOOP_RULES_RULES_PATH": str(self.file),
            "PINLOOP_RULES_STATE_PATH": str(folder / "state" / "rules.db"),
            "PINLOOP_RULES_WEBHOOK_URL": f"http://127.0.0.1:{receiver.port}/alert",
            "PINLOOP_RULES_WEBHOOK_PASSWORD": PASSWORD,
        }

    def start(self, **more: str) -> Child:
        """Start it and wait until it has its subscriptions."""
        child = self._spawn(["python", "-m", "rules"], env={**self.environment, **more})
        until(lambda: self.get("/readyz")["ok"] or child.poll() is not None, 10, "rules is ready")
        assert child.poll() is None, child.text()
        return child

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON at `path`, of an error too."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return json.load(answer)
        except HTTPError as error:
            return json.load(error)

    def rule(self, name: str = "too-bright") -> dict[str, Any]:
        """Return what GET /rules says of one rule."""
        return next(rule for rule in self.get("/rules")["rules"] if rule["name"] == name)


@pytest.fixture
def service(tmp_path: Path, broker: Broker, receiver: Receiver, spawn: Callable[..., Child]) -> Service:
    return Service(tmp_path, broker, receiver, spawn)


def test_a_reading_above_the_threshold_is_posted_at_once_and_resolved_below(
    service: Service, receiver: Receiver, client: Client
):
    """In Alertmanager's format, on one connection."""
    child = service.start()
    for value in (85, 75, 65):
        client.publish(TOPIC, str(value))
    until(lambda: receiver.states() == ["firing", "resolved"], what="both notifications")
    firing, resolved = receiver.alerts
    assert firing["labels"] == {
        "alertname": "too-bright",
        "device": "pot",
        "slot": "alert",
        "actuate": "lights/red=1,lights/green=0",
    }
    assert firing["fingerprint"] == resolved["fingerprint"]
    assert firing["startsAt"] == resolved["startsAt"]
    assert len(receiver.connections) == 1
    assert child.end() == 0

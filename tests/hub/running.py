"""A running hub with its real counterparts: mosquitto, the webhook and a store that tests write to themselves."""

import base64
import contextlib
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from store import Point
from store.sqlite import SqliteStore
from tests.support.broker import Broker, Client, running_broker
from tests.support.ports import free_port
from tests.support.processes import Child, start
from tests.support.wait import until

PASSWORD = "console-secret"
OPERATOR = "operator-secret"

LIGHTS = {
    "fw": "0.1.0",
    "chip": "esp32",
    "sensors": {},
    "pins": {name: {"gpio": gpio, "safe": 0, "min": 0, "max": 1} for name, gpio in (("red", 4), ("green", 5))},
}
POT = {"fw": "0.1.0", "chip": "esp32", "rssi": -61, "sensors": {"pot": {"unit": "%"}}, "pins": {}}


class RunningHub:
    """Broker, webhook and hub as processes, each with what it needs; ended by `end`."""

    def __init__(self, folder: Path, broker: Broker, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.broker = broker
        self.port = free_port()
        self.webhook_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.store = SqliteStore(folder / "store.db")
        self._settings = dict(settings or {})
        self.webhook = self.start_webhook()
        self.hub = self.start_hub()
        until(lambda: self.get("/healthz", user="")[0] == 200, 15, "the hub answers")
        until(lambda: self.get("/api/pins")[0] == 200, 15, "the webhook answers the hub")

    def start_webhook(self) -> Child:
        """Start the webhook (again)."""
        environment = {
            **self.broker.environment(),
            "PINLOOP_HTTP_PORT": str(self.webhook_port),
            "PINLOOP_ALERT_PASSWORD": "alert-secret",
            "PINLOOP_OPERATOR_PASSWORD": OPERATOR,
            "PINLOOP_CLAIMS_PATH": str(self.folder / "claims.db"),
        }
        self.webhook = start(["python", "-m", "webhook"], self.folder / "webhook.out", environment)
        return self.webhook

    def start_hub(self) -> Child:
        """Start the hub (again)."""
        environment = {
            **self.broker.environment(),
            "PINLOOP_HTTP_PORT": str(self.port),
            "PINLOOP_CONSOLE_PASSWORD": PASSWORD,
            "PINLOOP_WEBHOOK_URL": f"http://127.0.0.1:{self.webhook_port}",
            "PINLOOP_WEBHOOK_PASSWORD": OPERATOR,
            "PINLOOP_STORE_URL": f"sqlite:{self.folder / 'store.db'}",
            **self._settings,
        }
        self.hub = start(["python", "-m", "hub"], self.folder / "hub.out", environment)
        return self.hub

    def end(self) -> None:
        """Stop what runs."""
        for child in (self.hub, self.webhook):
            child.end()
        self.store.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        user: str = "owner",
        password: str = PASSWORD,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Return (status, decoded JSON or text, headers)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = dict(headers or {})
        if user:
            sent["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        if isinstance(body, dict):
            body, sent["Content-Type"] = json.dumps(body), "application/json"
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else text, answer.headers
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> tuple[int, Any, http.client.HTTPMessage]:
        """GET `path`."""
        return self.call("GET", path, **options)

    def alert(self, status: str, actuate: str, name: str = "too-bright") -> None:
        """Post an alert to the webhook as `rules` does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.webhook_port, timeout=10)
        one = {
            "status": status,
            "fingerprint": "a1b2c3d4e5f60718",
            "startsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "labels": {"alertname": name, "device": "pot", "actuate": actuate},
            "annotations": {"summary": "pot: mean of the last 10 s is above 80"},
        }
        word = base64.b64encode(b"alerts:alert-secret").decode()
        connection.request(
            "POST", "/alert", json.dumps({"version": "4", "alerts": [one]}), {"Authorization": f"Basic {word}"}
        )
        assert connection.getresponse().status == 200
        connection.close()

    def remember(self, device: str, sensor: str, points: list[tuple[float, float]]) -> None:
        """Write readings [(t_s, value), ...] to the store, as the listener does."""
        self.store.write([Point("readings", (("device", device),), {sensor: v}, int(t * 1e9)) for t, v in points])


class Board:
    """A device, played by the test: it says what it is and does what it is told."""

    def __init__(self, broker: Broker, device: str, info: Mapping[str, Any]) -> None:
        self.device = device
        self.client = Client(broker)
        self.commands = self.client.collect(f"pinloop/{device}/pin/+/set")
        self.send("status", "online", retain=True)
        self.send("info", info, retain=True)

    def send(self, topic: str, payload: Any, retain: bool = False) -> None:
        """Publish below the device's own level; anything but text goes as JSON."""
        text = payload if isinstance(payload, str) else json.dumps(payload)
        self.client.publish(f"pinloop/{self.device}/{topic}", text, retain=retain)

    def obey(self, pin: str, value: float) -> None:
        """Wait for a command that asks for `value` and report that it was done."""
        topic = f"pinloop/{self.device}/pin/{pin}/set"
        found = self.commands.until(lambda m: m.topic == topic and m.payload and json.loads(m.payload)["v"] == value)
        self.report(pin, value, json.loads(found.payload)["seq"])

    def report(self, pin: str, value: float, seq: int = 0, why: str = "command") -> None:
        """Report a state of the pin."""
        self.send(f"pin/{pin}/state", {"v": value, "seq": seq, "why": why}, retain=True)


@contextlib.contextmanager
def running_hub(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[RunningHub]:
    """Run broker, webhook and hub for the length of a `with` block."""
    with running_broker(folder / "broker") as broker:
        hub = RunningHub(folder, broker, settings)
        try:
            yield hub
        finally:
            hub.end()

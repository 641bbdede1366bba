"""A webhook as a process, with its own database and the test's broker."""

import base64
import http.client
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import Broker
from tests.support.processes import Child
from tests.support.wait import until
from tests.webhook.desk import Desk, open_desk
from tests.webhook.guarded import BACK, MAIN, Guarded
from tests.webhook.history import History
from tests.webhook.plans import Plan
from tests.webhook.world import simulated
from webhook.guards import Limits

PASSWORDS = {"alerts": "alert-secret", "operator": "operator-secret"}


class Webhook:
    """A webhook that the test may kill and start again on the same database."""

    def __init__(self, spawn: Callable[..., Child], broker: Broker, folder: Path, flags: dict[str, object]) -> None:
        self.port = 0
        self.database = folder / "claims.db"
        self.process: Child | None = None
        self._spawn = spawn
        self._env = {
            **broker.environment(),
            "PINLOOP_ALERT_PASSWORD": PASSWORDS["alerts"],
            "PINLOOP_OPERATOR_PASSWORD": PASSWORDS["operator"],
            "PINLOOP_HTTP_PORT": "0",
            "PINLOOP_CLAIMS_PATH": str(self.database),
            **{f"PINLOOP_{name.upper()}": str(value) for name, value in flags.items()},
        }

    def launch(self) -> Child:
        """Start a process without waiting for anything."""
        return self._spawn(["python", "-m", "webhook"], env=self._env)

    def start(self) -> "Webhook":
        """Start it and wait until it is ready."""
        self.process = self.launch()
        self.port = until(self._listens_on, 10, "the webhook says where it listens")
        until(lambda: self.call("GET", "/readyz")[0] == 200, 10, "the webhook is ready")
        return self

    def _listens_on(self) -> int:
        assert self.process is not None
        lines = (json.loads(line) for line in self.process.text().splitlines())
        return next(int(line["http"].rpartition(":")[2]) for line in lines if line["event"] == "webhook started")

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(5)

    def call(self, method: str, path: str, body: Any = None, user: str = "operator", password: str = "") -> Any:
        """Return (status, decoded JSON or text); `body` may be bytes or anything that JSON knows."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            word = base64.b64encode(f"{user}:{password or PASSWORDS.get(user)}".encode()).decode()
            connection.request(method, path, data, {"Authorization": f"Basic {word}"} if user else {})
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else text
        finally:
            connection.close()

    def alert(self, name: str, actuate: str, status: str = "firing", episode: int = 0, **labels: str) -> dict[str, Any]:
        """Post one alert in Alertmanager's format and return the answer."""
        one = {
            "status": status,
            "labels": {"alertname": name, "actuate": actuate, **labels},
            "annotations": {},
            "startsAt": f"2026-01-01T00:00:{episode:02d}Z",
            "fingerprint": f"{name}-{actuate}"[:64],
        }
        status_code, answer = self.call("POST", "/alert", {"version": "4", "alerts": [one]}, "alerts")
        assert status_code == 200, answer
        return dict(answer)

    def pin(self, device: str, pin: str) -> dict[str, Any]:
        """Return GET /pins/<device>/<pin>."""
        status, facts = self.call("GET", f"/pins/{device}/{pin}")
        assert status == 200, facts
        return dict(facts)

    def metric(self, line: str) -> float:
        """Return the value of the metric whose line begins with `line`, 0 when there is none."""
        text = self.call("GET", "/metrics", user="")[1]
        return next((float(row.split()[-1]) for row in text.splitlines() if row.startswith(line)), 0.0)


@pytest.fixture
def make_webhook(spawn: Callable[..., Child], broker: Broker, tmp_path: Path) -> Iterator[Callable[..., Webhook]]:
    """Return `make_webhook(ttl_s=..., ...)`: a webhook that is not started yet."""
    made: list[Webhook] = []

    def make(**flags: object) -> Webhook:
        made.append(Webhook(spawn, broker, tmp_path, flags))
        return made[-1]

    yield make
    for webhook in made:
        webhook.kill()


@pytest.fixture
def webhook(make_webhook: Callable[..., Webhook]) -> Webhook:
    """A webhook that runs, with intervals short enough to be waited for."""
    return make_webhook(reconcile_s=0.5).start()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = open_desk(tmp_path / "claims.db")
    yield opened
    opened.database.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    """Return `guarded(limits of main, limits of back)`: opens a database, closed when the test ends."""
    opened: list[Guarded] = []

    def make(main: Limits, back: Limits = Limits()) -> Guarded:  # noqa: B008  (frozen)
        opened.append(Guarded(tmp_path / "claims.db", {MAIN: main, BACK: back}).open())
        return opened[-1]

    yield make
    for one in opened:
        one.database.close()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[Plan], History]]:
    """Return `begin(plan)`: a history of that plan; it has to end well."""
    random.seed(1)  # the jitter of renewals
    with simulated() as clock:
        begun: list[History] = []

        def make(plan: Plan) -> History:
            begun.append(History(plan, clock, tmp_path))
            begun[-1].begin()
            return begun[-1]

        yield make
        begun[-1].mend_everything()
        begun[-1].world.kill()

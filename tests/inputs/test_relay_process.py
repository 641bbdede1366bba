"""A controller that is asked over HTTP switches a pin by a rule: real processes, a broker with our rights."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inputs.declared import parse
from pinloop.broker_files import SERVICE_USERS, acl_text, password_text
from store.sqlite import SqliteStore
from tests.support.broker import Broker, Client, running_broker
from tests.support.processes import Child
from tests.support.wait import until

LINE = "roof;1;{t};ATmega8_A_1;711;0;18.6;18.6;11.2;100;100;28;11.67;14.086;7;20;52.5;13.4"
RULES = """
version: 1
rules:
  - {name: low-battery, when: battery_voltage < 11.5, then: [load/mains = 1]}
  - {name: hot, when: porch.temperature > 50, clear: porch.temperature < 40, then: [load/fan = 1]}
"""


class Devices:
    """An ISEMS node and an EspNet device behind one address.

    Attributes:
        port: where they answer.
        fahrenheit: the chip's temperature of the second one.
    """

    def __init__(self) -> None:
        devices = self
        self.fahrenheit = 140.0
        self._log = LINE.format(t=int(time.time()) - 60) + "\n"

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = {"f": devices.fahrenheit, "id": "c8", "gpio": {}}
                self.send_response(200)
                self.end_headers()
                self.wfile.write((devices._log if "ISEMS" in self.path else json.dumps(answer)).encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def devices() -> Iterator[Devices]:
    """Devices that speak HTTP only."""
    found = Devices()
    yield found
    found.close()


@pytest.fixture
def file(tmp_path: Path, devices: Devices) -> Path:
    """Return an inputs' file that names them."""
    path = tmp_path / "inputs.toml"
    address = f"127.0.0.1:{devices.port}"
    path.write_text(f'[isems]\nnodes = ["{address}"]\n[espnet]\npoll_every_s = 1\ndevices = {{porch = "{address}"}}\n')
    return path


@pytest.fixture
def guarded(tmp_path: Path, file: Path) -> Iterator[Broker]:
    """A broker with our rights."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    folder.joinpath("passwd").write_text(password_text(dict.fromkeys((*SERVICE_USERS, "load"), "secret")))
    folder.joinpath("acl").write_text(acl_text(inputs=parse(file.read_text())))
    with running_broker(folder, f"allow_anonymous false\npassword_file {folder}/passwd\nacl_file {folder}/acl") as one:
        yield one


@pytest.mark.long
def test_what_is_asked_over_http_switches_a_pin_by_a_rule(
    spawn: Callable[..., Child], guarded: Broker, file: Path, devices: Devices, tmp_path: Path
) -> None:
    """A line of a minute ago and an answer of now; when that one's value falls its pin is released; stored once."""

    def service(name: str, **more: object) -> Child:
        settings = {f"PINLOOP_{key}": str(value) for key, value in more.items()}
        access = {"PINLOOP_MQTT_USER": f"svc.{name}", "PINLOOP_MQTT_PASSWORD": "secret", "PINLOOP_HTTP_PORT": "0"}
        return spawn(["python", "-m", name], env={**guarded.environment(), **access, **settings}, name=name)

    tmp_path.joinpath("rules.yml").write_text(RULES)
    database = tmp_path / "data" / "store.db"
    webhook = service(
        "webhook", CLAIMS_PATH=tmp_path / "claims.db", ALERT_PASSWORD="alert", OPERATOR_PASSWORD="operator"
    )
    until(lambda: "webhook started" in webhook.text(), 15, "the webhook starts")
    started = next(line for line in map(json.loads, webhook.text().splitlines()) if line["event"] == "webhook started")
    rules = service(
        "rules",
        RULES_PATH=tmp_path / "rules.yml",
        STATE_PATH=tmp_path / "rules.db",
        WEBHOOK_URL=started["http"] + "/alert",
        WEBHOOK_PASSWORD="alert",
        INPUTS_PATH=file,
    )
    until(lambda: "broker connected" in rules.text(), 15, "rules connect")
    with Client(guarded, user="load", password="secret") as load:
        told = load.collect("pinloop/load/pin/+/set")
        service(
            "listener",
            INPUTS_PATH=file,
            STORE_URL=f"sqlite:{database}",
            SPOOL_PATH=tmp_path / "spool",
            DEAD_LETTER_PATH=tmp_path / "dead.jsonl",
        )

        def value(pin: str) -> float | None:
            of_pin = [one.payload for one in told if one.topic == f"pinloop/load/pin/{pin}/set"]
            return json.loads(of_pin[-1])["v"] if of_pin and of_pin[-1] else None

        until(lambda: (value("mains"), value("fan")) == (1, 1), 20, "both are on")
        devices.fahrenheit = 50.0
        until(lambda: value("fan") is None, 10, "the fan is released")
        assert value("mains") == 1
    store = SqliteStore(database)
    assert len(store.series("roof", "battery_voltage", 0, 4e9, 1)) == 1
    store.close()
    assert not (tmp_path / "dead.jsonl").exists()

"""Other firmware through the real thing: mosquitto with our rights, the listener's and the rules' processes, HTTP."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from inputs.declared import parse
from inputs.gateway.accounts import hashed
from pinloop.broker_files import SERVICE_USERS, acl_text, password_text
from store.sqlite import SqliteStore
from tests.support.broker import Broker, Client, running_broker
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.wait import until

LINE = "Elektra-Dach;1;1700000000;ATmega8_A_1;711;0;18.6;18.6;{voltage};100;100;28;11.67;14.086;7;20;52.5;13.4"
TOKEN = "a-token"
FILE = """
[tasmota]
[isems]
nodes = ["127.0.0.1:{dead}", "127.0.0.1:{node}"]
poll_every_s = 10
[espnet]
poll_every_s = 1
[espnet.devices]
porch = "127.0.0.1:{node}"
[gateways.roof]
name = "gw"
token_sha256 = "{token}"
devices = {{"aa:bb" = "bed-1"}}
"""


class Node(http.server.BaseHTTPRequestHandler):
    """An ISEMS node and an EspNet device in one."""

    def do_GET(self) -> None:
        lines = [LINE.format(voltage=14.1), "broken", LINE.format(voltage=14.2).replace("1700000000", "1700000060")]
        body = "\n".join([*lines, ""]) if self.path == "/ISEMS/ffopenmppt.log" else '{"f":131,"id":"c8","gpio":{"2":1}}'
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def node() -> Iterator[int]:
    """Return the port of a device that is asked over HTTP."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Node)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def file(tmp_path: Path, node: int) -> Path:
    """Return an inputs' file."""
    path = tmp_path / "inputs.toml"
    path.write_text(FILE.format(dead=free_port(), node=node, token=hashed(TOKEN)))
    return path


@pytest.fixture
def guarded(tmp_path: Path, file: Path) -> Iterator[Broker]:
    """A broker with the rights that follow from the file, and a Tasmota device called plug."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    users = dict.fromkeys((*SERVICE_USERS, "plug", "other"), "secret")
    folder.joinpath("passwd").write_text(password_text(users))
    folder.joinpath("acl").write_text(acl_text(inputs=parse(file.read_text())))
    lines = f"allow_anonymous false\npassword_file {folder}/passwd\nacl_file {folder}/acl"
    with running_broker(folder, lines) as broker:
        yield broker


def environment(broker: Broker, name: str, file: Path) -> dict[str, str]:
    """Return the variables of a service at that broker."""
    return {
        **broker.environment(),
        "PINLOOP_MQTT_USER": f"svc.{name}",
        "PINLOOP_MQTT_PASSWORD": "secret",
        "PINLOOP_INPUTS_PATH": str(file),
    }


def test_tasmota_isems_espnet_and_a_gateway_are_stored(
    spawn: Callable[..., Child], guarded: Broker, file: Path, tmp_path: Path
) -> None:
    """One listener; a dead node and a bad line cost nobody else anything; a device cannot speak for another one."""
    port = free_port()
    store = SqliteStore(tmp_path / "data" / "store.db")
    listener = spawn(
        ["python", "-m", "listener"],
        env={
            **environment(guarded, "listener", file),
            "PINLOOP_LISTENER_HTTP_PORT": str(port),
            "PINLOOP_STORE_URL": f"sqlite:{tmp_path / 'data' / 'store.db'}",
            "PINLOOP_LISTENER_DEAD_LETTER_PATH": str(tmp_path / "dead.jsonl"),
            "PINLOOP_LISTENER_SPOOL_PATH": str(tmp_path / "spool"),
        },
        name="listener",
    )
    until(lambda: "broker connected" in listener.text(), 15, f"the listener connects: {listener.text()}")
    with (
        Client(guarded, user="other", password="secret") as other,
        Client(guarded, user="plug", password="secret") as plug,
    ):
        other.publish("tele/plug/SENSOR", '{"AM2301":{"Temperature":99}}')
        plug.publish("tele/plug/SENSOR", '{"Time":"2024-01-01T00:00:00","AM2301":{"Temperature":21.5}}')
    until(lambda: store.latest("plug").get("am2301_temperature", (0,))[0] == 21.5, 10, "Tasmota's reading")
    assert [value for _, value in store.series("plug", "am2301_temperature", 0, 4e9, 1)] == [21.5]
    until(lambda: store.latest("elektra-dach").get("battery_voltage") == (14.2, 1700000060.0), 10, "the node's log")
    assert len(store.series("elektra-dach", "battery_voltage", 1699999999, 1700000100, 1)) == 2
    until(lambda: store.latest("porch").get("temperature", (0,))[0] == 55, 10, "EspNet's answer")

    def post(path: str, body: object, token: str = TOKEN) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = urllib3.request("POST", f"http://127.0.0.1:{port}{path}", body=sent, headers=headers, retries=False)
        return answer.status, json.loads(answer.data)

    data = [{"humidity": 40, "name": "aa:bb", "timestamp": 2696}, {"name": "who", "x": 1}, {"name": "aa:bb"}, 7]
    status, said = post("/telemetry/", {"data": data, "name": "gw"})
    assert (status, said["stored"], said["unknown"]) == (200, 1, ["who"])
    assert [one["index"] for one in said["rejected"]] == [2, 3]
    assert store.latest("bed-1")["humidity"][0] == 40  # it was stored before the answer
    assert post("/device", {"name": "aa:bb", "temperature": 30})[0] == 200
    assert store.latest("bed-1")["temperature"][0] == 30
    assert post("/telemetry", {"name": "gw", "data": []}, token="wrong")[0] == 401
    assert post("/telemetry", b"{")[0] == 400
    assert urllib3.request("GET", f"http://127.0.0.1:{port}/telemetry").status == 405
    store.close()

"""What the doctor sees of brokers, disks, stores and Grafanas that are set up wrong."""

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pinloop.broker_files import DOCTOR_DEVICE, SERVICE_USERS, acl_text, password_text
from pinloop.doctor.broker import check_broker
from pinloop.doctor.broker_disk import check_broker_disk
from pinloop.doctor.devices import check_epochs
from pinloop.doctor.findings import Finding, as_object, as_text, broken, fine, warning
from pinloop.doctor.grafana import check_grafana
from pinloop.doctor.machine import check_disk
from pinloop.doctor.services import check_services
from pinloop.doctor.store import check_store
from pinloop.doctor.target import Target
from service.settings import MqttSettings
from store import StoreSettings
from tests.support.broker import Broker, Client, running_broker

PASSWORDS = {user: f"password-of-{user}" for user in (*SERVICE_USERS, DOCTOR_DEVICE)}


def target(**facts: Any) -> Target:
    """Return a stack of which only the named facts are known."""
    known = {"mqtt": MqttSettings(), "services": {}, "passwords": {}, "unreadable": {}, "store": StoreSettings()}
    return Target("stack", **{**known, **facts})


def by_check(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {one.check: one for one in findings}


def examined(folder: Path, acl: str, more: str = "allow_anonymous false") -> dict[str, Finding]:
    """Return what is found of a broker with this ACL (and these further lines)."""
    folder.mkdir()
    (folder / "passwd").write_text(password_text(PASSWORDS))
    (folder / "acl").write_text(acl)
    for name in ("passwd", "acl"):
        (folder / name).chmod(0o644)
    with running_broker(folder, f"password_file {folder}/passwd\nacl_file {folder}/acl\n{more}") as broker:
        return by_check(check_broker(target(mqtt=mqtt(broker), passwords=PASSWORDS)))


def mqtt(broker: Broker) -> MqttSettings:
    return MqttSettings(mqtt_host=broker.host, mqtt_port=broker.port)


def levels(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: one.level for name, one in findings.items()}


def test_our_own_broker_files_are_found_good(tmp_path: Path) -> None:
    """The twin of all that follows."""
    found = examined(tmp_path / "b", acl_text())
    assert levels(found) == dict.fromkeys(("broker", "broker strangers", "broker rights", "broker round trip"), "ok")


@pytest.mark.parametrize(
    ("line", "saw"),
    [
        ("pattern write pinloop/+/log", "A device can publish in the name of another device."),
        ("pattern read pinloop/+/cmd", "A device can read the commands of another device."),
        ("user svc.rules\ntopic write pinloop/+/cmd", "The rules can send commands to devices."),
    ],
)
def test_a_right_too_many_is_found(tmp_path: Path, line: str, saw: str) -> None:
    """The broker acknowledges what it drops, so only the other side can tell."""
    found = examined(tmp_path / "b", acl_text() + line + "\n")
    assert found["broker rights"].level == "broken"
    assert found["broker rights"].saw == saw
    assert "ACL" in found["broker rights"].do


@pytest.mark.parametrize(
    ("line", "saw"),
    [
        ("pattern write pinloop/%u/log", "What a device publishes below its own name does not reach the hub."),
        ("pattern read pinloop/%u/cmd", "What the hub sends a device does not reach it."),
    ],
)
def test_a_right_too_few_is_found(tmp_path: Path, line: str, saw: str) -> None:
    """A device that publishes in vain."""
    assert line in acl_text()
    found = examined(tmp_path / "b", acl_text().replace(line + "\n", ""))
    assert found["broker rights"].level == "broken"
    assert found["broker rights"].saw == saw


def test_a_broker_for_everybody_is_found(tmp_path: Path) -> None:
    """Anonymous clients can do nothing under this ACL; that they get in is bad enough."""
    found = examined(tmp_path / "b", acl_text(), "allow_anonymous true")
    assert found["broker strangers"].level == "broken"
    assert "allow_anonymous false" in found["broker strangers"].do


def test_small_packets_that_wait_are_found(tmp_path: Path) -> None:
    """40 ms a turn without TCP_NODELAY at the broker."""
    found = examined(tmp_path / "b", acl_text(), "allow_anonymous false\nset_tcp_nodelay false")
    assert found["broker round trip"].level == "warning", found
    assert "set_tcp_nodelay true" in found["broker round trip"].do


def test_without_the_doctors_own_account_rights_are_not_judged(tmp_path: Path) -> None:
    """An installation from before: the next start makes it."""
    with running_broker(tmp_path / "b") as broker:
        found = by_check(check_broker(target(mqtt=mqtt(broker), passwords={})))
    assert found["broker rights"].level == "warning"
    assert "next start" in found["broker rights"].do


def test_commands_of_two_webhooks_are_found(broker: Broker, client: Client) -> None:
    """Each names its claims database."""
    where = target(mqtt=mqtt(broker), passwords={"svc.hub": "any"}, services={"hub": "http://127.0.0.1:1"})
    for pin, epoch in (("red", "aaaa"), ("green", "aaaa")):
        client.publish(f"pinloop/lights/pin/{pin}/set", command(epoch), retain=True)
    client.publish("pinloop/old/pin/relay/set", "1", retain=True)
    assert levels(by_check(check_epochs(where))) == {"one webhook": "ok"}
    client.publish("pinloop/lights/pin/red/set", command("bbbb"), retain=True)
    found = by_check(check_epochs(where))["one webhook"]
    assert found.level == "broken"
    assert "bbbb (pinloop/lights/pin/red/set)" in found.saw


def command(epoch: str) -> str:
    return json.dumps({"v": 1, "seq": 5, "epoch": epoch, "ttl": 300, "by": "manual test"})


def test_a_broker_that_saves_is_found_good_and_one_that_stopped_is_not(tmp_path: Path) -> None:
    """It saves every 10 s; nothing else tells of a folder that it cannot write."""
    where = target(broker_folder=tmp_path)
    assert levels(by_check(check_broker_disk(where))) == {"broker database": "broken"}
    database = tmp_path / "mosquitto.db"
    database.write_bytes(b"x")
    assert levels(by_check(check_broker_disk(where))) == {"broker database": "ok"}
    os.utime(database, (time.time() - 60,) * 2)
    found = by_check(check_broker_disk(where))["broker database"]
    assert found.level == "broken"
    assert "60 s ago" in found.saw
    assert "autosave_interval 10" in found.do


def test_the_embedded_broker_is_told_from_mosquitto_by_what_was_written_last(tmp_path: Path) -> None:
    """A folder may have seen both."""
    for name, age_s in (("mosquitto.conf", 100), ("mosquitto.db", 100), ("users.json", 10)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    found = by_check(check_broker_disk(target(broker_folder=tmp_path)))["broker database"]
    assert found.level == "warning"
    assert "Install mosquitto" in found.do


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 1 GB a warning, below 100 MB nothing works for long."""
    for free, level in ((5e9, "ok"), (5e8, "warning"), (5e7, "broken")):
        usage = type("Usage", (), {"free": free, "total": 1e10})()
        monkeypatch.setattr("shutil.disk_usage", lambda _path, usage=usage: usage)
        assert levels(by_check(check_disk(target(folders=(tmp_path,))))) == {"disk": level}


class Server:
    """An HTTP server that answers from a table.

    Attributes:
        answers: path (without query) -> (status, body).
        seen: (path, Authorization).
    """

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.seen: list[tuple[str, str]] = []
        self.date = ""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                server.seen.append((path, self.headers.get("Authorization", "")))
                status, body = server.answers.get(path, (404, {"message": "not found"}))
                self.send_response_only(status)
                self.send_header("Date", server.date or self.date_time_string())
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def grafana(server: Server) -> Server:
    """The far side of Grafana's API, provisioned as ours."""
    hook = {"type": "webhook", "settings": {"url": "http://webhook:8081/alert", "username": "alerts"}}
    server.answers = {
        "/api/health": (200, {"database": "ok", "version": "13.1.2"}),
        "/api/v1/provisioning/contact-points": (200, [{"type": "email"}, hook]),
        "/api/datasources/uid/influxdb": (200, {"uid": "influxdb"}),
        "/api/datasources/uid/influxdb/health": (200, {"status": "OK"}),
        "/api/prometheus/grafana/api/v1/rules": (200, grafana_rules({"name": "too-bright", "health": "ok"})),
    }
    return server


def grafana_rules(*rules: dict[str, Any]) -> dict[str, Any]:
    """Return a list of rules in one group as Grafana gives it."""
    return {"status": "success", "data": {"groups": [{"name": "pinloop", "file": "pinloop", "rules": list(rules)}]}}


def grafana_findings(server: Server) -> dict[str, Finding]:
    return by_check(check_grafana(target(grafana_url=server.url, passwords={"grafana": "secret"})))


def test_a_provisioned_grafana_is_found_good(grafana: Server) -> None:
    """Asked as admin, except for its health."""
    found = grafana_findings(grafana)
    assert set(levels(found).values()) == {"ok"}
    assert found.keys() == {"grafana", "grafana contact point", "grafana data source", "grafana rules"}
    assert grafana.seen[0] == ("/api/health", "")
    assert all(authorization.startswith("Basic ") for _, authorization in grafana.seen[1:])


@pytest.mark.parametrize(
    ("path", "answer", "check", "level"),
    [
        ("/api/health", (503, {"database": "failing"}), "grafana", "broken"),
        ("/api/v1/provisioning/contact-points", (401, {}), "grafana password", "warning"),
        ("/api/v1/provisioning/contact-points", (200, []), "grafana provisioning", "broken"),
        ("/api/datasources/uid/influxdb", (404, {}), "grafana provisioning", "broken"),
        ("/api/datasources/uid/influxdb/health", (400, {"message": "unauthorized"}), "grafana data source", "broken"),
        ("/api/datasources/uid/influxdb/health", (400, {"message": "error connecting influxDB influxQL "}),
         "grafana data source", "warning"),
        ("/api/prometheus/grafana/api/v1/rules", (500, {}), "grafana rules", "broken"),
        ("/api/prometheus/grafana/api/v1/rules",
         (200, grafana_rules({"name": "dry", "health": "error"})), "grafana rules", "broken"),
        ("/api/prometheus/grafana/api/v1/rules",  # as 9.2 says it of a rule with execErrState
         (200, grafana_rules({"name": "dry", "health": "ok", "alerts": [{"state": "Normal (Error)"}]})),
         "grafana rules", "broken"),
    ],
)  # fmt: skip
def test_what_grafana_lacks_is_found(grafana: Server, path: str, answer: Any, check: str, level: str) -> None:
    """Each with the place to look at."""
    grafana.answers[path] = answer
    found = grafana_findings(grafana)[check]
    assert found.level == level
    assert found.do


def test_a_grafana_that_is_away_is_found() -> None:
    """And none at all is no finding."""
    assert levels(by_check(check_grafana(target(grafana_url="http://127.0.0.1:1")))) == {"grafana": "broken"}
    assert by_check(check_grafana(target(grafana_url=""))) == {}


@pytest.mark.parametrize(
    ("status", "level", "saw"),
    [(204, "ok", "takes the token that writes"), (400, "ok", "takes"), (401, "broken", "refuses the token"),
     (404, "broken", "does not have the bucket"), (500, "broken", "answers 500")],
)  # fmt: skip
def test_influxdbs_answer_to_an_empty_write_tells_whether_the_token_holds(
    server: Server, status: int, level: str, saw: str
) -> None:
    """No line is sent, so nothing is stored."""
    server.answers = {"/health": (200, {"name": "influxdb", "version": "v2.9.1"}), "/api/v2/write": (status, {})}
    server.answers["/query"] = (200, {"results": [{}]})
    store = StoreSettings(store_url=server.url, store_token="reads")
    found = by_check(check_store(replace(target(store=store), write_token="writes")))
    assert found["store"].level == level
    assert saw in found["store"].saw
    assert found["store reading"].level == "ok"
    assert ("/api/v2/write", "Token writes") in server.seen
    assert ("/query", "Token reads") in server.seen


def test_a_clock_that_is_off_is_found(server: Server) -> None:
    """By the Date of its answers."""
    server.answers = {"/readyz": (200, {"ok": True, "version": "0.0.1", "problems": {}})}
    where = target(services={"hub": server.url})
    assert by_check(check_services(where))["clocks"].level == "ok"
    server.date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 600))
    found = by_check(check_services(where))
    assert found["clocks"].level == "warning"
    assert "hub by +600 s" in found["clocks"].saw or "hub by +599 s" in found["clocks"].saw
    assert "NTP" in found["clocks"].do
    assert found["versions"].level == "warning"
    assert "hub 0.0.1" in found["versions"].saw


def test_another_program_on_a_services_port_is_found(server: Server) -> None:
    """It answers, but nothing of ours."""
    found = by_check(check_services(target(services={"hub": server.url})))["hub"]
    assert found.level == "broken"
    assert "Another program has its port" in found.do


def test_the_report_counts_and_aligns() -> None:
    """One object for programs, lines for people."""
    findings = [
        fine("broker", "It answers."),
        warning("disk", "Little room.", "Free some."),
        broken("hub", "Away.", "Start it."),
    ]
    assert as_object("local", findings)["counts"] == {"ok": 1, "warning": 1, "broken": 1}
    assert as_object("local", findings)["ok"] is False
    assert as_object("local", findings[:2])["ok"] is True
    assert as_text(findings).splitlines() == [
        "ok       broker  It answers.",
        "warning  disk    Little room.",
        "                 -> Free some.",
        "BROKEN   hub     Away.",
        "                 -> Start it.",
        "",
        "3 findings: 1 ok, 1 warning, 1 broken",
    ]

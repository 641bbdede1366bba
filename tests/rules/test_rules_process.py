"""`python -m rules` as a process: a real broker, a real HTTP receiver that goes away and comes back."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.rules.receiver import PASSWORD, Receiver
from tests.support.broker import Broker, Client
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.wait import until

TOPIC = "pinloop/pot/reading/pot"

RULES = """
version: 1
rules:
  - name: too-bright
    when: pot > 80
    clear: pot < 70
    then: [lights/red = 1, lights/green = 0]
"""


OTHER_RULE = """
  - {name: dark, when: light < 5, then: [lights/green = 1]}
"""


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
        self._environment = {
            **broker.environment(),
            "PINLOOP_RULES_HTTP_PORT": str(self.port),
            "PINLOOP_RULES_RULES_PATH": str(self.file),
            "PINLOOP_RULES_STATE_PATH": str(folder / "state" / "rules.db"),
            "PINLOOP_RULES_WEBHOOK_URL": receiver.url,
            "PINLOOP_RULES_WEBHOOK_PASSWORD": PASSWORD,
        }

    def spawn(self, **more: str) -> Child:
        """Start it."""
        return self._spawn(["python", "-m", "rules"], env={**self._environment, **more})

    def start(self, client: Client, **more: str) -> Child:
        """Start it and wait until it sees readings."""
        child = self.spawn(**more)
        until(lambda: self.get("/healthz") or child.poll() is not None, 10, "rules serves HTTP")
        assert child.poll() is None, child.text()
        until(
            lambda: (client.publish("pinloop/probe/reading/pot", "0"), self.states().get("probe"))[1],
            what="a reading reaches the rules",
            every_s=0.05,
        )
        return child

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON at `path`, of an error too."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return json.load(answer)
        except HTTPError as error:
            return json.load(error)

    def states(self) -> dict[str, str]:
        """Return device -> status of the first rule."""
        return {state["device"]: state["status"] for state in self.get("/rules")["rules"][0]["states"]}


@pytest.fixture
def service(tmp_path: Path, broker: Broker, receiver: Receiver, spawn: Callable[..., Child]) -> Service:
    return Service(tmp_path, broker, receiver, spawn)


def test_a_reading_is_posted_at_once_again_and_again_and_resolved(service: Service, receiver: Receiver, client: Client):
    """In Alertmanager's format, on one connection; SIGTERM ends it with 0."""
    child = service.start(client, PINLOOP_RULES_REASSERT_S="1")
    client.publish(TOPIC, "85")
    until(lambda: receiver.states() == ["firing", "firing"], what="the alert and its repetition")
    client.publish(TOPIC, "75")
    client.publish(TOPIC, "65")
    until(lambda: "resolved" in receiver.states(), what="the end")
    firing, *_, resolved = receiver.alerts
    assert firing["labels"] == {
        "alertname": "too-bright",
        "device": "pot",
        "slot": "alert",
        "actuate": "lights/red=1,lights/green=0",
    }
    assert len({(one["fingerprint"], one["startsAt"]) for one in receiver.alerts}) == 1
    assert resolved["endsAt"] > firing["startsAt"]
    assert len(receiver.connections) == 1
    assert service.get("/readyz")["ok"]
    assert child.end() == 0, child.text()


def test_while_the_webhook_is_away_nothing_is_lost_and_nothing_stale_is_sent(
    service: Service, receiver: Receiver, client: Client
):
    """Also when rules itself is killed meanwhile: the newest word about each alert arrives."""
    child = service.start(client)
    client.publish(TOPIC, "85")
    until(lambda: receiver.states() == ["firing"])
    receiver.stop()
    client.publish(TOPIC, "10")
    client.publish("pinloop/attic/reading/pot", "95")
    until(lambda: service.states() == {"probe": "ok", "pot": "ok", "attic": "firing"})
    until(lambda: "webhook" in service.get("/readyz")["problems"], what="it is told")
    child.kill()
    child.wait(5)
    child = service.start(client)
    client.publish("pinloop/attic/reading/pot", "90")
    until(lambda: service.states() == {"probe": "ok", "attic": "firing"})
    receiver.start()
    until(lambda: len(receiver.alerts) == 3, what="both")
    news = {(one["labels"]["device"], one["status"]) for one in receiver.alerts[1:]}
    assert news == {("pot", "resolved"), ("attic", "firing")}
    assert receiver.alerts[0]["startsAt"] == next(
        one["startsAt"] for one in receiver.alerts[1:] if one["status"] == "resolved"
    )


def test_a_firing_alert_survives_a_restart(service: Service, receiver: Receiver, client: Client):
    """One still holds and keeps its start; one ended meanwhile and is resolved; one has no rule any more."""
    service.file.write_text(RULES + OTHER_RULE)
    child = service.start(client)
    for device in ("a", "b"):
        client.publish(f"pinloop/{device}/reading/pot", "85")
    client.publish("pinloop/a/reading/light", "2")
    until(lambda: receiver.states() == ["firing"] * 3)
    starts = {one["fingerprint"]: one["startsAt"] for one in receiver.alerts}
    child.kill()
    child.wait(5)
    receiver.bodies.clear()
    service.file.write_text(RULES)
    service.start(client)
    until(lambda: receiver.states() == ["resolved"], what="the end of the alert without a rule")
    client.publish("pinloop/a/reading/pot", "75")
    client.publish("pinloop/b/reading/pot", "65")
    until(lambda: len(receiver.alerts) == 3)
    assert [(one["labels"]["alertname"], one["labels"]["device"], one["status"]) for one in receiver.alerts] == [
        ("dark", "a", "resolved"),
        ("too-bright", "a", "firing"),
        ("too-bright", "b", "resolved"),
    ]
    assert {one["fingerprint"]: one["startsAt"] for one in receiver.alerts} == starts


def test_it_takes_over_a_changed_file_and_keeps_the_old_rules_when_it_is_bad(
    service: Service, receiver: Receiver, client: Client
):
    """SIGHUP at once, the file's time within two seconds; a bad file makes /readyz say so."""
    child = service.start(client)
    service.file.write_text(RULES.replace("pot > 80", "pot >> 80"))
    child.send_signal(signal.SIGHUP)
    until(lambda: "'>>'" in service.get("/readyz")["problems"].get("rules", ""), what="the mistake is told")
    client.publish(TOPIC, "85")
    until(lambda: receiver.states() == ["firing"], what="the old rule decides")
    service.file.write_text(RULES.replace("too-bright", "too-bright-2").replace("80", "90"))
    until(lambda: service.get("/rules")["rules"][0]["name"] == "too-bright-2", what="the new rules")
    until(lambda: receiver.states() == ["firing", "resolved"], what="the end of the old rule's alert")
    assert "rules" not in service.get("/readyz")["problems"]


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"PINLOOP_RULES_RULES_PATH": "no/rules.yml"}, "no/rules.yml: cannot be read"),
        ({"PINLOOP_RULES_WEBHOOK_URL": "webhook"}, "--webhook-url: 'webhook' is not"),
        ({"PINLOOP_MQTT_PREFIX": "a b"}, "prefix: 'a b' is not"),
    ],
)
def test_what_it_cannot_start_with_is_one_line_and_exit_2(service: Service, variables: dict[str, str], line: str):
    """Before anything is connected."""
    child = service.spawn(**variables)
    assert child.wait(10) == 2
    assert line in child.text()
    assert "Traceback" not in child.text()


@pytest.mark.parametrize("what", ["port", "state"])
def test_a_taken_port_or_an_unusable_state_is_one_line_and_exit_1(service: Service, what: str, tmp_path: Path):
    """The supervisor tries again; people read the line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        variables = {
            "port": {"PINLOOP_RULES_HTTP_PORT": port},
            "state": {"PINLOOP_RULES_STATE_PATH": str(tmp_path)},
        }
        child = service.spawn(**variables[what])
        assert child.wait(10) == 1
    assert {"port": f"127.0.0.1:{port}", "state": f"'{tmp_path}' cannot be used"}[what] in child.text()
    assert "Traceback" not in child.text()

"""The embedded broker: same users and rights as mosquitto's, over a real connection."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pinloop.broker_files import acl_text
from pinloop.local.embedded_broker import Acl, write_users
from service.mqtt import Session
from service.settings import MqttSettings
from tests.support.broker import Client, Seen
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.wait import until


@pytest.fixture
def embedded(spawn: Callable[..., Child], tmp_path: Path) -> Any:
    users = {"svc.listener": "l", "svc.webhook": "w", "lights": "d"}
    write_users(tmp_path / "users.json", users)
    port = free_port()
    child = spawn(["python", "-m", "pinloop.local.embedded_broker", "127.0.0.1", str(port), str(tmp_path)])
    until(lambda: "listens" in child.text(), 10, "the embedded broker listens")
    return SimpleNamespace(host="127.0.0.1", port=port, child=child)


def test_a_device_touches_only_its_own_topics(embedded: Any):
    """A denied publish is acknowledged and dropped, as by mosquitto."""
    with Client(embedded, "l", "svc.listener", "l") as listener, Client(embedded, "d", "lights", "d") as device:
        seen = listener.collect("pinloop/#")
        device.publish("pinloop/other/reading/pot", "1")
        device.publish("pinloop/lights/pin/red/set", "1")
        device.publish("pinloop/lights/reading/pot", "2")
        seen.until(lambda message: message.payload == b"2")
        assert seen.topics() == ["pinloop/lights/reading/pot"]


def test_a_retained_command_reaches_its_device_and_no_other(embedded: Any):
    """Retained messages are not filtered at delivery: a filter that reaches other devices is refused."""
    with Client(embedded, "w", "svc.webhook", "w") as webhook:
        webhook.publish("pinloop/lights/pin/red/set", "1", retain=True)
        webhook.publish("pinloop/other/pin/red/set", "1", retain=True)
    with Client(embedded, "d", "lights", "d") as device:
        everybody = device.collect("pinloop/+/pin/+/set")
        seen = device.collect("pinloop/lights/pin/+/set")
        assert seen.until(lambda message: message.retain).topic == "pinloop/lights/pin/red/set"
        assert everybody.topics() == ["pinloop/lights/pin/red/set"]


def test_a_client_that_connects_gets_no_retained_messages_of_others_subscriptions(embedded: Any):
    """amqtt alone sends them: a device would see every other device's commands."""
    with Client(embedded, "w", "svc.webhook", "w") as webhook, Client(embedded, "l", "svc.listener", "l") as listener:
        listener.collect("pinloop/#")
        webhook.publish("pinloop/other/pin/red/set", "1", retain=True)
        with Client(embedded, "d", "lights", "d") as device:
            everything = Seen()
            device._collections.append(("#", everything))  # whatever arrives, asked for or not
            device.collect("pinloop/lights/pin/+/set")
            webhook.publish("pinloop/lights/pin/red/set", "1")
            everything.until(lambda message: message.topic == "pinloop/lights/pin/red/set")
            assert everything.topics() == ["pinloop/lights/pin/red/set"]


@pytest.mark.parametrize(
    ("user", "asked", "allowed"),
    [
        ("lights", "pinloop/lights/pin/+/set", True),
        ("lights", "pinloop/lights/pin/red/set", True),
        ("lights", "pinloop/+/pin/+/set", False),
        ("lights", "pinloop/lights/#", False),
        ("lights", "#", False),
        ("lights", "pinloop/lights/pin/#", False),
        ("svc.listener", "pinloop/+/reading/+", True),
        ("svc.listener", "$SYS/#", False),
        ("svc.rules", "pinloop/+/reading/+", True),
        ("svc.rules", "pinloop/+/pin/+/set", False),
    ],
)
def test_a_subscription_is_granted_only_within_the_rights(user: str, asked: str, allowed: bool):
    """Every topic that the filter can match must be readable."""
    assert Acl(acl_text()).allows_subscription(user, asked) is allowed


def test_a_service_whose_subscription_is_refused_is_not_connected_and_says_so(embedded: Any):
    """It would wait for ever for messages that never come."""
    settings = MqttSettings(mqtt_port=embedded.port, mqtt_user="svc.webhook", mqtt_password="w")
    session = Session(settings, "webhook", subscriptions=[("pinloop/+/pin/+/set", 1), ("pinloop/+/reading/+", 1)])
    session.start()
    until(lambda: "refuses the subscription to pinloop/+/reading/+" in (session.problem() or ""))
    assert not session.connected
    session.stop()


def test_wrong_and_missing_passwords_are_refused(embedded: Any):
    """Nobody is anonymous."""
    for user, password in (("lights", "wrong"), ("", ""), ("stranger", "d")):
        with Client(embedded, "x", user, password) as client:
            assert "uthoriz" in client.refused


def test_it_ends_on_sigterm(embedded: Any):
    """The supervisor's stop is enough."""
    assert embedded.child.end() == 0


@pytest.mark.parametrize(
    ("user", "topic", "write", "allowed"),
    [
        ("lights", "pinloop/lights/status", True, True),
        ("lights", "pinloop/pot/status", True, False),
        ("lights", "pinloop/lights/pin/red/set", False, True),
        ("lights", "pinloop/lights/pin/red/set", True, False),
        ("svc.webhook", "pinloop/lights/pin/red/set", True, True),
        ("svc.webhook", "pinloop/lights/reading/pot", False, False),
        ("svc.listener", "pinloop/lights/reading/pot", False, True),
        ("svc.listener", "pinloop/lights/reading/pot", True, False),
        ("svc.webhook", "pinloop/svc.webhook/status", True, False),
    ],
)
def test_the_acl_is_read_as_mosquitto_reads_it(user: str, topic: str, write: bool, allowed: bool):
    """`deny` wins; patterns hold for every user."""
    assert Acl(acl_text()).allows(user, topic, write) is allowed

"""The MQTT session against a real broker: reconnects, subscriptions, refusals, callbacks that fail."""

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from service.mqtt import Message, NotConnected, Session
from service.settings import MqttSettings
from tests.support.broker import Broker, Client
from tests.support.wait import until


def settings_for(broker: Broker, **more: object) -> MqttSettings:
    return MqttSettings(mqtt_host=broker.host, mqtt_port=broker.port, **more)  # type: ignore[arg-type]


@pytest.fixture
def seen() -> list[Message]:
    return []


@pytest.fixture
def session(broker: Broker, seen: list[Message]) -> Iterator[Session]:
    one = Session(settings_for(broker), "pump", subscriptions=[("pinloop/#", 1)], on_message=seen.append)
    one.start()
    assert one.wait_connected(5)
    yield one
    one.stop()


def test_it_publishes_and_waits_for_the_puback(session: Session, client: Client):
    """`wait` is true once the broker has the message."""
    got = client.collect("pinloop/#")
    assert session.publish("pinloop/pump/status", b"online", retain=True).wait(2)
    assert got.until(lambda message: True).payload == b"online"


def test_small_messages_do_not_wait_for_a_delayed_ack(session: Session, seen: list[Message]):
    """TCP_NODELAY is set on its socket: without it each turn takes 40 ms or more."""
    sock = session._client.socket()
    assert sock is not None
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_it_subscribes_again_after_the_broker_came_back_empty(broker: Broker, session: Session, seen: list[Message]):
    """A killed broker forgets the session; every connect subscribes."""
    broker.kill()
    until(lambda: not session.connected, what="the session notices")
    broker.forget()
    broker.start()
    assert session.wait_connected(10)
    with Client(broker) as other:
        other.publish("pinloop/pump/status", b"back")
    until(lambda: [message.payload for message in seen] == [b"back"], what="the message after the restart")


def test_without_a_connection_a_publish_is_an_error_and_not_a_hidden_queue(broker: Broker, session: Session):
    """What was true then may be wrong later: only the caller knows."""
    broker.stop()
    until(lambda: not session.connected, what="the session notices")
    with pytest.raises(NotConnected, match="not connected to 127.0.0.1"):
        session.publish("pinloop/pump/status", b"online")


def test_a_handler_that_raises_does_not_end_the_session(broker: Broker, client: Client):
    """paho would end its thread, and with it every later message."""
    seen: list[bytes] = []

    def fail_on_bad(message: Message) -> None:
        if message.payload == b"bad":
            raise ValueError("bad")
        seen.append(message.payload)

    session = Session(settings_for(broker), "pump", subscriptions=[("t", 1)], on_message=fail_on_bad)
    session.start()
    assert session.wait_connected(5)
    until(lambda: (client.publish("t", "bad"), client.publish("t", "good"), b"good" in seen)[-1])
    assert session.connected
    session.stop()


def test_a_refused_login_says_so(tmp_path, broker: Broker):
    """A wrong password is a problem to be shown, not a silent retry."""
    broker.stop()
    (tmp_path / "none").touch(mode=0o600)
    broker.config.write_text(broker.config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    broker.start()
    session = Session(settings_for(broker, mqtt_user="x", mqtt_password="y"), "pump")
    session.start()
    until(lambda: "refuses" in (session.problem() or ""), what="the refusal is told")
    session.stop()


def test_what_a_lost_connection_left_unacknowledged_is_not_sent_again(broker: Broker, session: Session):
    """A command that was withdrawn meanwhile must not switch its pin seconds later."""
    assert broker.process is not None
    os.kill(broker.process.pid, signal.SIGSTOP)  # it takes nothing in any more, and has not acknowledged
    old = session.publish("pinloop/lights/pin/red/set", b"stale")
    assert not old.wait(0.2)
    broker.kill()
    until(lambda: not session.connected, what="the session notices")
    broker.forget()
    broker.start()
    with Client(broker) as device:
        seen = device.collect("pinloop/+/pin/+/set")
        assert session.wait_connected(10)
        session.publish("pinloop/lights/pin/red/set", b"true now")
        seen.until(lambda message: message.payload == b"true now")
        assert [message.payload for message in seen] == [b"true now"]


def test_it_keeps_trying_with_growing_jittered_delays():
    """Nobody listens: the delay grows to its limit and differs from try to try."""
    session = Session(MqttSettings(mqtt_port=1), "pump")
    delays = []
    for failures in range(12):
        session._failures = failures
        session._back_off()
        delays.append(session._client._reconnect_min_delay)
    assert all(0.1 <= delay <= 2 for delay in delays)
    assert min(delays[-3:]) >= 1
    assert len(set(delays)) == len(delays)


def test_messages_sent_while_a_persistent_session_was_away_arrive(broker: Broker, client: Client):
    """The fixed client id and the kept session are what makes acknowledged readings wait for the listener."""
    first = Session(settings_for(broker), "pump", subscriptions=[("t", 1)], persistent=True)
    first.start()
    assert first.wait_connected(5)
    until(lambda: first._client._last_mid >= 1)
    time_limit = time.monotonic() + 5
    seen: list[bytes] = []
    first._handle = lambda message: seen.append(message.payload)
    while b"probe" not in seen and time.monotonic() < time_limit:
        client.publish("t", "probe")
    first.stop()
    client.publish("t", "while away")
    second = Session(
        settings_for(broker), "pump", subscriptions=[("t", 1)], persistent=True,
        on_message=lambda message: seen.append(message.payload),
    )  # fmt: skip
    second.start()
    until(lambda: b"while away" in seen, what="the queued message")
    second.stop()

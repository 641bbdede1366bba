"""The MQTT side against a real mosquitto: what is acknowledged, and to which connection."""

from collections.abc import Callable, Iterator

import pytest

from listener.intake import Intake
from listener.queue import Queue, Received
from service.settings import MqttSettings
from tests.support.broker import Broker, Client
from tests.support.wait import until

TOPIC = "pinloop/pot/reading/pot"


@pytest.fixture(params=["block", "stock"])
def reader(request: pytest.FixtureRequest) -> str:
    """Both ways of reading keep the same promises."""
    return str(request.param)


@pytest.fixture
def connect(broker: Broker, reader: str) -> Iterator[Callable[[], tuple[Intake, Queue]]]:
    """Return `connect()`: starts an intake, after the one before has ended."""
    running: list[tuple[Intake, Queue]] = []

    def end() -> None:
        for intake, queue in running:
            queue.close()
            intake.stop()
        running.clear()

    def start() -> tuple[Intake, Queue]:
        end()
        queue = Queue(1 << 20)
        intake = Intake(MqttSettings(mqtt_port=broker.port), ["pinloop/+/reading/+"], queue, reader)
        running.append((intake, queue))
        intake.start()
        until(lambda: intake.problem() is None, 10, "the intake connects")
        return intake, queue

    yield start
    end()


def arrived(queue: Queue, count: int) -> list[Received]:
    """Wait for so many messages and return them."""
    return [one for _ in range(count) for one in (until(lambda: queue._held, what="a message"), queue.take(1))[1]]


def payloads(received: list[Received]) -> list[bytes]:
    return [one.payload for one in received]


def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(
    connect: Callable[[], tuple[Intake, Queue]], client: Client
) -> None:
    """Across a restart of the listener."""
    intake, queue = connect()
    for text in ("1", "2", "3"):
        client.publish(TOPIC, text)
    first = arrived(queue, 3)
    assert payloads(first) == [b"1", b"2", b"3"]
    intake.ack(first[:2])

    _, queue = connect()
    assert payloads(arrived(queue, 1)) == [b"3"]


def test_an_acknowledgement_of_an_earlier_connection_reaches_no_other_message(
    connect: Callable[[], tuple[Intake, Queue]], broker: Broker, client: Client
) -> None:
    """A broker that lost its memory counts packet ids from 1 again: the old message's id is now another's."""
    intake, queue = connect()
    client.publish(TOPIC, "stored late")
    old = arrived(queue, 1)
    broker.kill()
    broker.forget()
    until(lambda: intake.problem() is not None, 5, "the end of the connection is seen")
    broker.start()
    until(lambda: intake.problem() is None, 15, "the intake connects again")
    with Client(broker) as another:
        another.publish(TOPIC, "not stored yet")
    new = arrived(queue, 1)
    assert [one.mid for one in new] == [one.mid for one in old]
    intake.ack(old)

    _, queue = connect()
    assert payloads(arrived(queue, 1)) == [b"not stored yet"]

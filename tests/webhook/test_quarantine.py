"""A message at which the broker hangs up: it rests, and all the others keep flowing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from service.mqtt import Publication
from tests.support.broker import Broker, Client, running_broker
from tests.support.processes import Child
from tests.support.wait import until
from tests.webhook.conftest import Webhook
from webhook.quarantine import Quarantine

POISON = "x" * 1000
ROUTES = f"""
version: 1
devices:
  bad: {{kind: custom, pins: {{power: {{topic: bad/set, on: {POISON}, state_topic: bad/is}}}}}}
  good: {{kind: custom, pins: {{power: {{topic: good/set, state_topic: good/is}}}}}}
"""


class Landed:
    """A publication that the broker acknowledged, or never will."""

    def __init__(self, landed: bool = False) -> None:
        self.landed = landed

    def wait(self, _timeout_s: float) -> bool:
        return self.landed


class Line:
    """A quarantine, its clock, and a broker that hangs up at one topic."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.quarantine = Quarantine("test", lambda: self.now_s)

    def send(self, topic: str, landed: bool) -> bool:
        if self.quarantine.holds(topic):
            return False
        self.quarantine.sent(topic, cast(Publication, Landed(landed)))
        return True

    def hang_up(self, after_s: float = 0.1) -> None:
        self.now_s += after_s
        self.quarantine.disconnected()


@pytest.fixture
def line() -> Line:
    return Line()


def test_three_connections_in_a_row_that_end_at_a_topic_put_it_to_rest(line: Line) -> None:
    """Not those that were sent after it, nor the one before, which had landed."""
    for _ in range(3):
        assert line.send("early", landed=True)
        assert line.send("poison", landed=False)
        assert line.send("late", landed=False)
        line.hang_up()
    assert not line.send("poison", landed=False)
    assert line.send("early", landed=True)
    assert line.send("late", landed=True)
    assert "'poison'" in line.quarantine.reason(["late", "poison"])
    assert line.quarantine.reason(["late"]) == ""


def test_a_topic_that_lands_in_between_is_innocent(line: Line) -> None:
    """A line that flaps ends connections at whatever is on its way."""
    for _ in range(4):
        for _ in range(2):
            assert line.send("pump", landed=False)
            line.hang_up()
        assert line.send("pump", landed=True)
        assert line.send("other", landed=True)


def test_a_slow_end_of_a_connection_is_nobodys_fault(line: Line) -> None:
    """A broker that hangs up does so at once."""
    for _ in range(5):
        assert line.send("pump", landed=False)
        line.hang_up(after_s=5)


def test_a_topic_is_tried_again_after_a_minute_and_rests_longer_each_time(line: Line) -> None:
    """An hour at most; and nothing rests for ever, or a release could be lost."""
    for rest_s in (60, 120, 240):
        while line.send("poison", landed=False):
            line.hang_up()
        line.now_s += rest_s - 1
        assert not line.send("poison", landed=False)
        line.now_s += 1
    assert line.send("poison", landed=True)
    assert line.send("other", landed=True)
    assert line.quarantine.reason(["poison"]) == ""


def test_a_pardon_forgets_everything(line: Line) -> None:
    """The file may have been mended."""
    while line.send("poison", landed=False):
        line.hang_up()
    line.quarantine.pardon()
    assert line.send("poison", landed=False)


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Broker]:
    """A broker that hangs up at packets of more than 260 bytes."""
    with running_broker(tmp_path / "strict", "allow_anonymous true\nmax_packet_size 260") as broker:
        yield broker


@pytest.fixture
def start(spawn: Callable[..., Child], strict: Broker, tmp_path: Path) -> Iterator[Callable[..., Webhook]]:
    started: list[Webhook] = []

    def one(**flags: object) -> Webhook:
        started.append(Webhook(spawn, strict, tmp_path, {"reconcile_s": 0.5, **flags}))
        return started[-1].start()

    yield one
    for webhook in started:
        webhook.kill()


def test_a_payload_of_other_firmware_that_the_broker_refuses_rests_and_the_others_flow(
    start: Callable[..., Webhook], strict: Broker, tmp_path: Path
) -> None:
    """Pinloop's own pins are on another connection and notice nothing at all."""
    routes = tmp_path / "routes.yml"
    routes.write_text(ROUTES)
    webhook = start(routes_path=routes)
    with Client(strict) as client:
        good, own = client.collect("good/set"), client.collect("pinloop/lights/pin/red/set")
        webhook.alert("a", "bad/power=1,good/power=1,lights/red=1")
        own.until(lambda m: m.payload)
        until(lambda: webhook.pin("bad", "power")["quarantine"], 15, "the bad target rests")
        assert "'bad/set'" in webhook.pin("bad", "power")["quarantine"]
        assert webhook.metric('webhook_quarantined_topics{session="foreign"}') == 1
        assert webhook.metric('webhook_quarantined_topics{session="pinloop"}') == 0
        until(lambda: webhook.call("GET", "/readyz")[0] == 200, 5, "the connection of the others stands")
        good.until(lambda m: m.payload == b"ON")
        webhook.alert("a", "bad/power=1,good/power=1,lights/red=1", "resolved")
        good.until(lambda m: m.payload == b"OFF")
        assert webhook.pin("good", "power")["quarantine"] is None


def test_a_command_of_ours_that_the_broker_refuses_rests_and_the_others_flow(
    start: Callable[..., Webhook], strict: Broker
) -> None:
    """The name of an alert makes one command too long for this broker."""
    webhook = start()
    with Client(strict) as client:
        seen = client.collect("pinloop/lights/pin/green/set")
        webhook.alert("ü" * 100, "lights/red=1")  # six bytes each in JSON
        until(lambda: webhook.pin("lights", "red")["quarantine"], 15, "the long command rests")
        webhook.alert("short", "lights/green=1")
        seen.until(lambda m: b'"v":1' in m.payload)
        until(lambda: webhook.call("GET", "/readyz")[0] == 200, 5, "the connection stands")

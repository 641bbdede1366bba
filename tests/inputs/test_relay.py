"""What came over HTTP is told to rules and hub: the newest values, at once or not at all."""

import json
import threading
from collections.abc import Sequence

import paho.mqtt.client as paho
import pytest

from contract.topics import Topics
from hub.feed import Feed
from hub.intake import Intake as HubIntake
from hub.live import Picture
from inputs.declared import parse
from listener import relay
from listener.assemble import Assembler
from listener.decode import Decoder
from listener.foreign import foreign
from listener.handover import Handed
from listener.queue import Received
from listener.relay import Relay
from listener.settings import Settings
from listener.translate import Translator
from rules.intake import Intake, Reading
from service.mqtt import NotConnected, Outgoing, Publication

NOW_S = 1763690000
LINE = "roof;1;{t};ATmega8_A_1;711;0;18.6;18.6;{voltage};100;100;28;11.67;14.086;7;20;52.5;13.4"
FILE = """
[isems]
[espnet]
devices = {porch = "10.0.0.9"}
[gateways.roof]
name = "gw"
token_sha256 = "%s"
devices = {"aa:bb" = "bed-1"}
"""


class Answer:
    """A publication that the broker has, or not."""

    def __init__(self, acked: bool) -> None:
        self.acked = acked

    def wait(self, timeout_s: float) -> bool:
        assert timeout_s == 0, "it never waits"
        return self.acked


class Bench:
    """A relay behind the listener's own translation; what it publishes is kept."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.connected = self.answers = True
        self.now_s = 0.0
        self._translator = Translator(Decoder("pinloop", inputs=foreign(parse(FILE % ("0" * 64)))), Assembler())
        self.relay = Relay(Topics(), self._publish, lambda: self.now_s)
        self._counts = {one: self._total(one) for one in ("sent", "older", "away", "busy", "failed")}

    def came(self, topic: str, payload: str, at_s: float = NOW_S, broker: bool = False) -> None:
        """Take a message, of HTTP or of the broker."""
        fields = {"topic": topic, "payload": payload.encode(), "received_ns": int(at_s * 1e9)}
        message = Received(**fields) if broker else Handed(**fields, safe=threading.Event())
        self.relay.take(self._translator.batch([message], 1000))

    def told(self) -> list[tuple[str, dict[str, object]]]:
        """Return (topic, values) of what was published since the last call."""
        found, self.sent = [(one.topic, json.loads(one.payload)) for one in self.sent], []
        return found

    def counted(self) -> dict[str, float]:
        """Return outcome -> how often, of those that happened."""
        now = {one: self._total(one) - before for one, before in self._counts.items()}
        return {one: count for one, count in now.items() if count}

    def _publish(self, messages: Sequence[Outgoing]) -> Sequence[Publication]:
        if not self.connected:
            raise NotConnected
        self.sent += messages
        return [Answer(self.answers) for _ in messages]

    @staticmethod
    def _total(outcome: str) -> float:
        return relay.COPIES.labels(outcome)._value.get()


@pytest.fixture
def bench() -> Bench:
    """A relay whose broker is there."""
    return Bench()


def log(*lines: tuple[int, float]) -> str:
    """Return a node's log: (time, battery's voltage)."""
    return "\n".join(LINE.format(t=t, voltage=voltage) for t, voltage in lines)


def test_an_answer_is_told_as_a_reading_with_its_time(bench: Bench) -> None:
    """On the device's own topic, not retained; of its state nothing is told."""
    bench.came("http:espnet/porch", '{"f":131,"id":"c8","gpio":{"2":1}}', NOW_S + 0.25)
    assert [(one.topic, one.retain) for one in bench.sent] == [("pinloop/porch/relayed", False)]
    assert bench.told()[0][1] == {"temperature": 55, "gpio_2": 1, "_t": NOW_S + 0.25}
    bench.came("http:espnet/porch", "")  # it does not answer any more
    assert bench.told() == []


def test_of_a_log_the_newest_line_is_told_and_then_only_new_ones(bench: Bench) -> None:
    """With its number, by which rules know it again."""
    bench.came("http:isems", log((NOW_S - 120, 12.1), (NOW_S - 60, 12.2)))
    [(topic, values)] = bench.told()
    assert topic == "pinloop/roof/relayed"
    assert (values["battery_voltage"], values["_t"], values["_n"], values["_b"]) == (
        12.2,
        pytest.approx(NOW_S - 60, abs=0.002),
        NOW_S - 60,
        "csvlog",
    )
    bench.came("http:isems", log((NOW_S - 120, 12.1), (NOW_S - 60, 12.2)))  # stored already
    assert bench.told() == []
    bench.came("http:isems", log((NOW_S, 12.3)))
    assert [values["battery_voltage"] for _, values in bench.told()] == [12.3]
    assert bench.counted() == {"sent": 2, "older": 1}


def test_each_sensor_of_a_gateways_items_is_told_once_with_its_newest_value(bench: Bench) -> None:
    """Whatever their order; seconds since the start are told as times."""
    items = [
        {"name": "aa:bb", "timestamp": NOW_S - 4, "temperature": 30},
        {"name": "aa:bb", "timestamp": NOW_S - 100, "temperature": 29, "humidity": 40},
        {"name": "aa:bb", "timestamp": NOW_S - 200, "temperature": 28},
    ]
    bench.came("http:gateway", json.dumps({"bed-1": items}))
    assert bench.told() == [
        ("pinloop/bed-1/relayed", {"humidity": 40, "_t": NOW_S - 100}),
        ("pinloop/bed-1/relayed", {"temperature": 30, "_t": NOW_S - 4}),
    ]
    bench.came("http:gateway", json.dumps({"bed-1": [{"name": "x", "timestamp": 2696, "level": 7}]}))
    assert bench.told() == [("pinloop/bed-1/relayed", {"level": 7, "_t": NOW_S})]
    bench.came("http:gateway", json.dumps({"bed-1": [{"name": "x", "a": 1}, {"name": "x", "a": 2}]}))
    assert [values["a"] for _, values in bench.told()] == [2]  # without times the last one counts


def test_a_request_that_is_sent_again_does_not_bring_an_old_value_back(bench: Bench) -> None:
    """Unless the time that it was compared with is yet to come: then the clock was put back."""

    def post(t: int, value: int, at_s: float) -> list[object]:
        bench.came("http:gateway", json.dumps({"bed-1": [{"name": "x", "timestamp": t, "level": value}]}), at_s)
        return [values["level"] for _, values in bench.told()]

    assert post(NOW_S, 2, NOW_S) == [2]
    assert post(NOW_S - 10, 1, NOW_S + 1) == []
    assert post(NOW_S - 600, 3, NOW_S - 599) == [3]


def test_nothing_that_came_from_the_broker_goes_back_to_it(bench: Bench) -> None:
    """Neither ours nor what was relayed: that is no message of the listener at all."""
    bench.came("pinloop/pot/reading/pot", "61.5", broker=True)
    bench.came("pinloop/porch/relayed", '{"temperature":55}', broker=True)
    assert bench.told() == []
    assert not any("relayed" in one for one in Decoder("pinloop").filters())


def test_without_a_broker_nothing_is_kept_for_later(bench: Bench) -> None:
    """It is counted; the next reading goes."""
    bench.connected = False
    bench.came("http:espnet/porch", '{"f":131,"id":"c8","gpio":{}}')
    bench.connected = True
    assert bench.told() == []
    bench.came("http:espnet/porch", '{"f":32,"id":"c8","gpio":{}}', NOW_S + 1)
    assert [values["temperature"] for _, values in bench.told()] == [0]
    assert bench.counted() == {"away": 1, "sent": 1}


def test_a_broker_that_does_not_answer_gets_a_bounded_number(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it copies are dropped, until it answers or nobody waits for it any more."""
    monkeypatch.setattr(relay, "_MOST_WAITING", 3)
    bench.answers = False

    def post(number: int) -> int:
        bench.came("http:espnet/porch", '{"f":32,"id":"c8","gpio":{}}', NOW_S + number)
        return len(bench.told())

    assert [post(number) for number in range(5)] == [1, 1, 1, 0, 0]
    bench.now_s += relay._GIVEN_UP_S
    assert post(6) == 1
    assert bench.counted() == {"sent": 4, "busy": 2}


def test_a_bug_that_a_copy_shows_stops_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The readings are stored, which is what counts."""
    monkeypatch.setattr(bench.relay, "_copies", lambda _batch: 1 / 0)
    bench.came("http:espnet/porch", '{"f":32,"id":"c8","gpio":{}}')
    assert bench.counted() == {"failed": 1}


def relayed(payload: bytes, retain: bool = False) -> paho.MQTTMessage:
    """Return a message as rules get it."""
    found = paho.MQTTMessage(0, b"pinloop/roof/relayed")
    found.payload, found.retain = payload, retain
    return found


def test_rules_take_what_was_relayed_up_to_two_minutes_late(bench: Bench) -> None:
    """A line of a log is a minute old when it is asked for; what is older, or retained, is history."""
    bench.came("http:isems", log((NOW_S - 70, 11.2)))
    payload = bench.sent[0].payload
    for late_s, retain, seen in ((0, False, [11.2]), (51, False, []), (0, True, [])):
        intake = Intake(Topics(), {}, wall=lambda late_s=late_s: NOW_S + late_s)
        found = list(intake.readings(relayed(payload, retain)))
        assert [one.value for one in found if one.sensor == "battery_voltage"] == seen
    intake = Intake(Topics(), {}, wall=lambda: NOW_S)
    assert Reading("roof", "battery_voltage", 11.2) in list(intake.readings(relayed(payload)))
    assert list(intake.readings(relayed(payload))) == []  # the same line again
    assert ("pinloop/+/relayed", 1) in intake.filters()


def test_the_hub_shows_what_was_relayed(bench: Bench) -> None:
    """With the time at which it was read."""
    picture = Picture(Feed(lambda: NOW_S), lambda: NOW_S)
    hub = HubIntake(Settings(), picture, lambda: NOW_S, lambda: None)
    bench.came("http:isems", log((NOW_S - 70, 11.2)))
    [copy] = bench.sent
    hub.take(copy.topic, copy.payload, True)
    assert picture.device("roof") is None
    hub.take(copy.topic, copy.payload, False)
    shown = picture.device("roof")
    assert shown
    assert shown["readings"]["battery_voltage"]["value"] == 11.2
    assert shown["readings"]["battery_voltage"]["t_s"] == pytest.approx(NOW_S - 70, abs=0.002)

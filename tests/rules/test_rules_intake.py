"""Messages that are readings, and messages that are not."""

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.topics import Topics
from inputs.declared import parse
from rules import metrics
from rules.intake import Intake, Reading
from service.errors import SettingsError
from service.extra_topics import parse_extra


def message(topic: str, payload: bytes, retain: bool = False) -> paho.MQTTMessage:
    found = paho.MQTTMessage(0, topic.encode())
    found.payload = payload
    found.retain = retain
    return found


@pytest.fixture
def intake() -> Intake:
    return Intake(Topics(), parse_extra("/pot=seed/pot"))


def test_a_reading_may_be_a_number_or_an_object(intake: Intake):
    """The two forms of the contract, and a topic of a device that does not know it."""
    for topic, payload, device in (
        ("pinloop/a/reading/pot", b"61.5", "a"),
        ("pinloop/a/reading/pot", b'{"v":61.5,"n":17,"b":"k3f9"}', "a"),
        ("/pot", b"61.5", "seed"),
    ):
        assert list(intake.readings(message(topic, payload))) == [Reading(device, "pot", 61.5)]


def test_a_sample_is_several_readings_and_of_a_back_fill_only_the_newest_of_each_sensor_counts(intake: Intake):
    """Rules are about now; what was ten minutes ago must not switch a pin."""
    payload = b'[{"t":1,"h":2,"_n":1,"_b":"k3f9"},{"t":3,"_n":2,"_b":"k3f9"}]'
    found = list(intake.readings(message("pinloop/a/readings", payload)))
    assert sorted((one.sensor, one.value) for one in found) == [("h", 2), ("t", 3)]


def test_a_sample_that_came_before_is_not_one_again(intake: Intake):
    """A redelivery, or a back-fill after live readings; a new start of the device counts anew."""

    def came(n: int, boot: str, sensor: str = "pot") -> bool:
        payload = f'{{"v":1,"n":{n},"b":"{boot}"}}'.encode()
        return bool(list(intake.readings(message(f"pinloop/a/reading/{sensor}", payload))))

    assert came(5, "k3f9")
    assert not came(5, "k3f9")
    assert not came(4, "k3f9")
    assert came(5, "k3f9", "light")  # two sensors of one moment on their own topics
    assert came(6, "k3f9")
    assert came(1, "zzzz")


def test_a_device_that_does_not_name_its_start_is_always_believed(intake: Intake):
    """Its count may have begun again."""
    for _ in range(2):
        assert list(intake.readings(message("pinloop/a/reading/pot", b'{"v":1,"n":1}')))


@pytest.mark.parametrize(
    ("topic", "payload", "retain"),
    [
        ("pinloop/a/reading/pot", b"61.5", True),
        ("pinloop/a/reading/pot", b"nan", False),
        ("pinloop/a/reading/pot", b"", False),
        ("pinloop/A/reading/pot", b"1", False),
        ("pinloop/a/readings", b"[]", False),
        ("other/pot", b"1", False),
    ],
)
def test_what_is_no_reading_of_now_is_left_out(intake: Intake, topic: str, payload: bytes, retain: bool):
    """Retained: of unknown age. The others: outside the contract."""
    assert list(intake.readings(message(topic, payload, retain))) == []


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ('"t":1789999994', False),
        ('"t":1789999996', True),
        ('"t":1790000600', True),
        ('"t":600', True),
        ('"a":6', False),
        ('"a":5', True),
        ('"t":1790000600,"a":6', False),
    ],
    ids=["6 s ago", "4 s ago", "a clock ahead", "a clock never set", "waited 6 s", "waited 5 s", "ahead and waited"],
)
def test_a_reading_that_waited_in_its_device_switches_nothing(fields: str, counts: bool):
    """An outage ends and what was minutes ago comes: it is history, told by its own time or its age."""
    intake = Intake(Topics(), {}, wall=lambda: 1_790_000_000.0)
    before = metrics.IGNORED.labels("old")._value.get()
    payload = f'{{"v":90,"n":1,"b":"k3f9",{fields}}}'.encode()
    assert bool(list(intake.readings(message("pinloop/a/reading/pot", payload)))) is counts
    assert metrics.IGNORED.labels("old")._value.get() == before + (not counts)


@given(st.sampled_from(["pinloop/a/reading/pot", "pinloop/a/readings", "/pot"]), st.binary(max_size=60))
def test_no_payload_does_more_than_be_left_out(topic: str, payload: bytes):
    """Devices have bugs."""
    list(Intake(Topics(), parse_extra("/pot=seed/pot")).readings(message(topic, payload)))


@pytest.mark.parametrize("text", ["/pot", "=a/b", "+/pot=a/b", "/pot=A/b", "/pot=a/B", "/pot=a"])
def test_a_bad_extra_topic_is_told(text: str):
    """Before anything is connected."""
    with pytest.raises(SettingsError, match="is not topic=device/sensor"):
        parse_extra(text)


def test_other_firmware_drives_rules_too() -> None:
    """A temperature of Tasmota's is a reading like any other; a retained one, or one of long ago, is not."""
    inputs = parse('[tasmota]\ntimezone = "UTC"\n')
    intake = Intake(Topics(), {}, wall=lambda: 1704067200.0, inputs=inputs)
    assert ("tele/+/SENSOR", 1) in intake.filters()

    def taken(payload: bytes, retain: bool = False) -> list[Reading]:
        message = paho.MQTTMessage(topic=b"tele/attic/SENSOR")
        message.payload, message.retain = payload, retain
        return list(intake.readings(message))

    good = b'{"Time":"2024-01-01T00:00:00","AM2301":{"Temperature":31}}'
    assert taken(good) == [Reading("attic", "am2301_temperature", 31)]
    assert taken(good, retain=True) == []
    assert taken(good.replace(b"2024", b"2023")) == []
    assert taken(b"{") == []


def test_what_a_gateway_says_again_is_not_one_again() -> None:
    """A new listener does not know what the one before relayed; an older value must not undo what a newer did."""
    intake = Intake(Topics(), {}, wall=lambda: 1_790_000_060.0)

    def came(t_s: float) -> bool:
        return bool(list(intake.readings(message("pinloop/a/relayed", f'{{"pot":1,"_t":{t_s}}}'.encode()))))

    assert [came(1_790_000_000.0 + t_s) for t_s in (10, 20, 10, 20, 30)] == [True, True, False, False, True]
    assert [came(1_790_000_000.0 + t_s) for t_s in (90, 40)] == [True, True]  # ahead: a clock that was put back since

"""Decoding: every message is a fact or a counted rejection, never anything else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.commands import Command, State
from contract.readings import Sample, encode_reading
from listener.assemble import Assembler
from listener.decode import Commanded, Decoder, Info, Input, Readings, Refused, Reported, Status
from listener.errors import REASONS, Rejected
from service.errors import SettingsError

DECODER = Decoder("pinloop", "/pot=seed/pot, a/b c=seed/other")

LEVELS = st.sampled_from(
    ["pinloop", "pot", "reading", "readings", "pin", "red", "set", "state", "status", "info", "cmd", "", "n", "$SYS"]
)
TOPICS = st.lists(LEVELS | st.text(max_size=5), max_size=6).map("/".join) | st.text(max_size=30)
KEYS = [
    "v",
    "t",
    "n",
    "b",
    "_t",
    "_n",
    "_b",
    "seq",
    "epoch",
    "ttl",
    "by",
    "why",
    "rssi",
    "heap",
    "pins",
    "sensors",
    "x",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner),
    max_leaves=10,
)
PAYLOADS = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())


@given(TOPICS, PAYLOADS, st.booleans())
def test_no_message_does_more_than_be_rejected(topic: str, payload: bytes, retained: bool) -> None:
    """Arbitrary topics and bytes decode, or are rejected for a reason of the closed list."""
    reason = ""
    try:
        for fact in DECODER.decode(topic, payload):
            assert not isinstance(fact, Refused)
            Assembler(64).points(fact, retained, 1763690000 * 10**9)
    except Rejected as error:
        reason = error.reason
    assert reason in ("", *REASONS[:-1])


def decoded(topic: str, payload: bytes | str) -> Any:
    """Return the one fact in a message."""
    (fact,) = DECODER.decode(topic, payload.encode() if isinstance(payload, str) else payload)
    return fact


def test_each_topic_becomes_its_fact() -> None:
    """One message of each kind."""
    reading = decoded("pinloop/pot/reading/pot", encode_reading(61.5, 17, "k3f9", 1763690000.25))
    assert isinstance(reading, Readings)
    sample = reading.samples[0]
    assert (reading.device, sample.values, sample.n, sample.boot) == ("pot", {"pot": 61.5}, 17, "k3f9")
    many = decoded("pinloop/pot/readings", '[{"a":1,"b":2,"_n":1,"_b":"k3f9"},{"a":3}]')
    assert [sample.values for sample in many.samples] == [{"a": 1, "b": 2}, {"a": 3}]
    assert decoded("pinloop/pot/status", "online") == Status("pot", "online")
    assert isinstance(decoded("pinloop/pot/info", '{"rssi":-60}'), Info)
    command = decoded("pinloop/lights/pin/red/set", Command(1, 5, "e", 300, "alert too-bright").encode())
    assert isinstance(command, Commanded)
    assert command.command is not None
    assert command.command.by == "alert too-bright"
    assert decoded("pinloop/lights/pin/red/set", "") == Commanded("lights", "red", None)
    assert isinstance(decoded("pinloop/lights/pin/red/state", State(1, 5, "command").encode()), Reported)


@pytest.mark.parametrize("topic", ["pot/status", "pot/info", "lights/pin/red/state"])
def test_what_somebody_clears_at_the_broker_is_no_message_of_the_device(topic: str) -> None:
    """An empty payload takes a retained message away: nothing to store, and no dead letter."""
    assert DECODER.decode(f"pinloop/{topic}", b"") == []


@pytest.mark.parametrize("payload", ["61", " 61 ", '{"v":61}'])
def test_a_topic_outside_the_contract_can_be_a_sensor(payload: str) -> None:
    """The seed's firmware publishes a bare number on /pot."""
    fact = decoded("/pot", payload)
    assert (fact.device, fact.samples[0].values) == ("seed", {"pot": 61})


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("pinloop/pot/reading/pot", "sixty", "number"),
        ("pinloop/pot/reading/pot", "nan", "number"),
        ("pinloop/pot/reading/pot", "", "number"),
        ("pinloop/pot/reading/pot", "{", "json"),
        ("pinloop/pot/reading/pot", '{"v":null}', "number"),
        ("pinloop/pot/reading/pot", '{"v":1e999}', "number"),
        ("pinloop/pot/reading/pot", b"\xff", "utf8"),
        ("pinloop/pot/reading/pot", "1" * 70000, "size"),
        ("pinloop/pot/reading/n", "1", "reserved"),
        ("pinloop/pot/readings", '{"time":1}', "reserved"),
        ("pinloop/pot/readings", "[" * 50000, "json"),
        ("pinloop/pot/readings", "[]", "size"),
        ("pinloop/pot/readings", "[1]", "shape"),
        ("pinloop/POT/reading/pot", "1", "device"),
        ("pinloop/pot/reading/Pot", "1", "name"),
        ("pinloop/pot/nothing", "1", "kind"),
        ("pinloop/pot/cmd", "{}", "kind"),
        ("elsewhere", "1", "prefix"),
        ("", "1", "prefix"),
        ("pinloop/pot/status", "dancing", "status"),
        ("pinloop/pot/pin/red/state", '{"v":1,"why":"mood"}', "why"),
        ("pinloop/pot/pin/red/set", '{"v":1,"by":"a\\nb"}', "text"),
    ],
)
def test_what_breaks_the_contract_is_rejected_with_its_reason(topic: str, payload: bytes | str, reason: str) -> None:
    """The reason is the counter's label."""
    with pytest.raises(Rejected) as caught:
        decoded(topic, payload)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"pot":"x"}', "number"), ('{"pot":NaN}', "number"), ('{"pot":1e999}', "number"),
        ('{"pot":1,"_n":-1}', "number"),
        ('{"Pot":1}', "name"), ("{}", "size"), ("7", "shape"), ('[{"pot":1}]', "shape"), ("null", "shape"),
        ('{"time":1}', "reserved"),
    ],
)  # fmt: skip
def test_a_bad_sample_of_a_back_fill_costs_itself_only(bad: str, reason: str) -> None:
    """An hour of readings must not be lost over one of them; where it stands is told."""
    good = '{"pot":%d,"_t":1763690000,"_n":%d,"_b":"k3f9"}'
    said = DECODER.decode("pinloop/pot/readings", f"[{good % (1, 1)},{bad},{good % (3, 3)}]".encode())
    readings, refused = said
    assert isinstance(readings, Readings)
    assert [(one.values, one.n, one.t_s) for one in readings.samples] == [
        ({"pot": 1}, 1, 1763690000), ({"pot": 3}, 3, 1763690000),
    ]  # fmt: skip
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.message.startswith("readings[1]: ")) == (reason, True)


def test_a_back_fill_of_bad_samples_says_what_is_wrong_with_each() -> None:
    """And nothing of it is stored."""
    said = DECODER.decode("pinloop/pot/readings", b'[{"pot":null},{"time":1}]')
    assert [one.reason for one in said if isinstance(one, Refused)] == ["number", "reserved"]
    assert len(said) == 2


@pytest.mark.parametrize("extra", ["/pot", "=seed/pot", "/#=seed/pot", "/+=seed/pot", "/pot=seed", "/pot=seed/n"])
def test_a_malformed_extra_topic_is_a_settings_error_that_quotes_it(extra: str) -> None:
    """Found before anything is connected."""
    with pytest.raises(SettingsError, match="topics_extra"):
        Decoder("pinloop", extra)


def test_a_malformed_prefix_is_a_settings_error() -> None:
    """A wildcard there would subscribe to everything."""
    with pytest.raises(SettingsError, match="mqtt_prefix"):
        Decoder("#")


def test_there_is_a_filter_for_each_kind_and_extra_topic() -> None:
    """What is subscribed to is what is decoded."""
    assert DECODER.filters() == [
        "pinloop/+/reading/+",
        "pinloop/+/readings",
        "/pot",
        "a/b c",
        "pinloop/+/status",
        "pinloop/+/info",
        "pinloop/+/pin/+/set",
        "pinloop/+/pin/+/state",
    ]


def test_an_input_decodes_what_its_filter_matches_and_no_topic_of_ours() -> None:
    """The first one that matches, in their order; each filter is subscribed to."""

    def of(sensor: str) -> Any:
        return lambda topic, payload: [Readings(topic.split("/")[1], [Sample({sensor: float(payload)})])]

    decoder = Decoder("pinloop", inputs=[Input("tele/+/SENSOR", of("first")), Input("+/+/#", of("second"))])
    found = []
    for topic in ("tele/plug/SENSOR", "tele/plug/STATE", "pinloop/pot/reading/pot"):
        (fact,) = decoder.decode(topic, b"1")
        assert isinstance(fact, Readings)
        found.append((fact.device, fact.samples[0].values))
    assert found == [("plug", {"first": 1}), ("plug", {"second": 1}), ("pot", {"pot": 1})]
    assert decoder.filters()[-2:] == ["tele/+/SENSOR", "+/+/#"]

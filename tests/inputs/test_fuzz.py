"""Whatever comes, an input answers with facts or refuses: bytes, deep JSON, NaN, huge numbers, bad UTF-8."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import ContractError
from contract.topics import is_device, is_name
from inputs import About, Ignored, Readings, Refused, Status
from inputs.declared import Inputs, parse
from inputs.facts import IGNORED_REASONS
from listener.assemble import Assembler
from listener.decode import Decoder
from listener.decode import Refused as ListenersRefused
from listener.errors import REASONS, Rejected
from listener.foreign import foreign
from store.lines import lines
from tests.support.every_input import DECLARED

SAMPLE = Path(__file__).parents[2] / "listener" / "inputs.toml"
KNOWN: Inputs = parse(SAMPLE.read_text() + "[espnet]" + DECLARED)
TOPICS = {
    "tasmota": ["tele/x/SENSOR", "tele/x/STATE", "tele/x/LWT", "stat/x/RESULT", "stat/x/POWER1"],
    "zigbee2mqtt": ["zigbee2mqtt/a b/c", "zigbee2mqtt/x/availability", "zigbee2mqtt/bridge/state", "zigbee2mqtt/"],
    "esphome": ["x/sensor/y/state", "x/light/y/state", "x/status", "x/binary_sensor/ /state"],
    "shelly1": ["shellies/x/relay/0", "shellies/x/online", "shellies/x/color/0/status", "shellies/x/relay/0/energy"],
    "shelly2": ["x/events/rpc", "x/status/switch:0", "x/online"],
    "homie": ["homie/x/y/z", "homie/5/x/y/z", "homie/x/$state", "homie/x/$description", "homie/x/y/z/$unit", "homie/x"],
    "isems": ["/isems/x/csvlog", "http:isems"],
    "espnet": ["http:espnet/porch"],
    "gateways": ["http:gateway"],
    "custom": ["garden/x/weather", "plant/x/y", "log/x"],
    "numbers": ["/pot"],
}
# Keys that inputs look for, so that the search gets past the first look.
KEYS = ["Time", "TempUnit", "Temperature", "POWER", "ENERGY", "state", "last_seen", "method", "params", "ts",
        "switch:0", "tC", "tF", "nodes", "properties", "datatype", "unit", "f", "id", "gpio", "name", "timestamp",
        "data", "main", "temp", "at", "t", "porch", ""]  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["ON", "off", "NotifyStatus", "°F", "float", "c8f09e", "2024-01-01T00:00:00Z", "F", "online"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner),
    max_leaves=12,
)
FIELDS = st.sampled_from(["", "a", "1", "1530364575", "18.6", "nan", "1e999", "-", "é", "x" * 50, "ff"])
CSV = st.lists(st.lists(FIELDS, min_size=0, max_size=20).map(";".join), max_size=4).map("\n".join)
ODD = [b"[" * 60000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"9" * 5000, b'{"f":' + b"9" * 5000 + b"}", b"\xff\xfe{}",
       b'{"a":1,"a":{"a":2}}', b'{"a":NaN,"b":1e999,"c":-0}', b"x" * 70000, b"", b"null", b'"\\ud800"',
       b'{"\\ud800":1,"name":"\\udfff"}', b'{"time":1,"n":2,"boot":3,"device":4}']  # fmt: skip
PAYLOADS = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()) | CSV.map(str.encode)


def test_every_input_has_topics_here() -> None:
    """A new input comes with topics to be fuzzed."""
    assert {one.name for one in KNOWN.inputs} == set(TOPICS)


def look(topic: str, payload: bytes) -> None:
    """Decode a message, and let the listener make points of it, as lines that every store takes."""
    try:
        facts = KNOWN.decode(topic, payload)
    except ContractError as error:
        assert error.reason in REASONS  # noqa: PT017  (one of two outcomes)
        assert len(str(error)) < 400  # noqa: PT017
        facts = []
    for fact in facts:
        if isinstance(fact, Readings):
            assert is_device(fact.device)
            assert fact.samples
            assert all(is_name(name) for sample in fact.samples for name in sample.values)
        elif isinstance(fact, Ignored):
            assert fact.reason in IGNORED_REASONS
        elif isinstance(fact, Refused):
            assert fact.reason in REASONS
        else:
            assert isinstance(fact, Status | About)
            assert is_device(fact.device)
    decoder, assembler = Decoder("pinloop", "", foreign(KNOWN)), Assembler(16)
    try:
        for said in decoder.decode(topic, payload):
            if not isinstance(said, ListenersRefused):
                lines(assembler.points(said, False, 1763690000 * 10**9))
    except Rejected as error:
        assert error.reason in REASONS  # noqa: PT017


@pytest.mark.parametrize("name", sorted(TOPICS))
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_message_does_more_than_be_refused(name: str, data: st.DataObject) -> None:
    """Arbitrary bytes, JSON and lines on the topics of each input."""
    look(data.draw(st.sampled_from(TOPICS[name])), data.draw(PAYLOADS))


@pytest.mark.parametrize("name", sorted(TOPICS))
@pytest.mark.parametrize("payload", ODD, ids=lambda payload: repr(payload[:12]))
def test_nor_does_an_odd_one(name: str, payload: bytes) -> None:
    """Those that have broken decoders before."""
    for topic in TOPICS[name]:
        look(topic, payload)


@given(st.lists(st.text(max_size=4) | st.sampled_from(["tele", "SENSOR", "x", "status", "homie"]), max_size=6))
@settings(deadline=None)
def test_nor_does_a_strange_topic(levels: list[str]) -> None:
    """Whoever's it is."""
    look("/".join(levels), b'{"a":1}')

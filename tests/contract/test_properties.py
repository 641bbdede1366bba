"""Whatever comes in: topics cannot be injected into, payloads cannot crash a decoder."""

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract.commands import Command, decode_command, decode_state
from contract.errors import ContractError
from contract.presence import decode_info, decode_status
from contract.readings import decode_reading, decode_readings, encode_reading
from contract.topics import KINDS, Topic, Topics, is_device, is_name

DECODERS = [
    decode_command,
    decode_state,
    decode_info,
    decode_status,
    decode_readings,
    lambda payload: decode_reading("pot", payload),
]
DEVICES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
PREFIXES = st.from_regex(r"[A-Za-z0-9_-]{1,12}(/[A-Za-z0-9_-]{1,12}){0,2}", fullmatch=True)
HOSTILE = st.sampled_from(["+", "#", "$SYS", "\0", "../", "/", "", "a/b", "a\n", "Ａ", "é", " ", "a" * 33])
KEYS = st.text() | st.sampled_from(["v", "t", "n", "b", "_t", "pins", "seq", "why"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(PREFIXES, st.sampled_from(KINDS), DEVICES, NAMES)
def test_a_built_topic_parses_back_to_its_parts(prefix: str, kind: str, device: str, name: str) -> None:
    """`parse` is the inverse of `build`, for every kind and prefix."""
    topics = Topics(prefix)
    part = name if "+" in kind else ""
    assert topics.parse(topics.build(kind, device, part)) == Topic(kind, device, part)


@given(st.text() | st.text("pinlo/+#$.a-_0").map(lambda rest: "pinloop/" + rest))
@example("pinloop/pot/pin/red/set\0")
@example("pinloop/pot/pin/red/set/")
def test_a_parsed_topic_is_the_one_that_would_be_built(topic: str) -> None:
    """No second spelling of a topic exists: what parses is built again letter by letter, all else is refused."""
    with contextlib.suppress(ContractError):
        parsed = Topics().parse(topic)
        assert Topics().build(parsed.kind, parsed.device, parsed.name) == topic


@given(st.text() | HOSTILE, st.text() | HOSTILE)
def test_nothing_outside_the_grammar_reaches_a_topic(device: str, name: str) -> None:
    """A topic is built from good ids only; the ids of a built topic add no level, wildcard or control character."""
    if is_device(device) and is_name(name):
        topic = Topics().build("pin/+/set", device, name)
        assert topic.count("/") == 4
        assert not set(topic) & set("+#$\0")
    else:
        with pytest.raises(ContractError):
            Topics().build("pin/+/set", device, name)


@pytest.mark.parametrize("decode", DECODERS)
@given(payload=st.binary() | st.text().map(str.encode) | st.integers().map(lambda number: str(number).encode()))
@example(payload=b"[" * 60000)
@example(payload=b'{"v":' * 100)
@example(payload=b"9" * 5000)
@example(payload=b'{"v":' + b"9" * 400 + b"}")
def test_arbitrary_bytes_are_decoded_or_refused(decode, payload: bytes) -> None:
    """A decoder returns, or raises ContractError; nothing else."""
    with contextlib.suppress(ContractError):
        decode(payload)


@pytest.mark.parametrize("decode", DECODERS)
@given(value=JSON)
def test_arbitrary_json_is_decoded_or_refused(decode, value: object) -> None:
    """The same for well-formed JSON of any shape, NaN and Infinity included."""
    with contextlib.suppress(ContractError):
        decode(json.dumps(value).encode())


@given(
    st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**53 - 1)
)
def test_a_reading_survives_the_wire(value: float, n: int) -> None:
    """What is encoded is decoded to the same."""
    sample = decode_reading("pot", encode_reading(value, n, "k3f9"))
    assert (sample.values, sample.n, sample.boot) == ({"pot": value}, n, "k3f9")


@given(st.integers(0, 1), st.integers(0, 2**53 - 1), st.integers(1, 86400), st.booleans())
def test_a_command_survives_the_wire(value: int, seq: int, ttl_s: int, force: bool) -> None:
    """What the webhook writes is what the device reads."""
    command = decode_command(Command(value, seq, "k3f9", ttl_s, "Jürgen", force).encode())
    assert command is not None
    assert vars(command) == {
        "value": value, "seq": seq, "epoch": "k3f9", "ttl_s": ttl_s, "by": "Jürgen", "force": force,
    }  # fmt: skip

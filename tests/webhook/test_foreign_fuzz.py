"""Whatever a device of other firmware says, its twin answers in our contract or refuses, and still does its work."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.commands import decode_state
from contract.presence import decode_info, decode_status
from contract.topics import INFO, PIN_SET, PIN_STATE, Topics
from service.settings import MqttSettings
from tests.support.ports import free_port
from tests.support.wait import until
from tests.webhook.test_foreign import ROUTES
from webhook.foreign.bridge import Bridge
from webhook.foreign.twin import Twin
from webhook.quarantine import Quarantine
from webhook.routes_file import parse_routes

DEVICES = parse_routes(ROUTES).devices
TOPICS = Topics()
# Keys and words that firmware uses, so that the search gets past the first look.
KEYS = ["POWER", "POWER1", "state", "output", "result", "params", "method", "switch:0", "id", "relay", "on", "online"]
WORDS = ["ON", "OFF", "on", "off", "true", "Online", "online", "offline", "NotifyStatus", "yes", "no", 0, 1, True, None]
JSON: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(WORDS) | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)
SAID = (
    st.binary(max_size=20)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.sampled_from([str(word).encode() for word in WORDS])
)


def test_a_fault_in_one_look_does_not_end_the_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would end the leases of any device any more."""
    looks: list[Twin] = []

    def failing_once(twin: Twin, _now_s: float) -> list[Any]:
        looks.append(twin)
        if len(looks) == 1:
            raise KeyError("a bug")
        return []

    monkeypatch.setattr(Twin, "tick", failing_once)
    bridge = Bridge(MqttSettings(mqtt_port=free_port()), TOPICS, DEVICES, lambda _pin: -math.inf, Quarantine("test"))
    bridge.start()
    try:
        until(lambda: len(looks) > len(DEVICES), 5, "it looks again")
    finally:
        bridge.stop()


def test_a_fault_with_one_device_does_not_keep_on_what_others_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their leases end, however often it comes."""
    seen: list[str] = []

    def failing(twin: Twin, _now_s: float) -> list[Any]:
        if twin.device.name == next(iter(DEVICES)):
            raise KeyError("a bug")
        seen.append(twin.device.name)
        return []

    monkeypatch.setattr(Twin, "tick", failing)
    bridge = Bridge(MqttSettings(mqtt_port=free_port()), TOPICS, DEVICES, lambda _pin: -math.inf, Quarantine("test"))
    with pytest.raises(KeyError):
        bridge.tick()
    assert seen == list(DEVICES)[1:]


@pytest.mark.parametrize("number", ["[]", "{}", "null", "0.5", '"0"'])
def test_an_answer_about_no_number_of_a_switch_says_nothing(number: str) -> None:
    """Of a Shelly: it is no fault of ours to be logged again and again."""
    device = next(one for one in DEVICES.values() if one.kind == "shelly2")
    read = device.firmware.reads[f"pinloop-{device.name}/rpc"]
    assert read(b'{"result":{"id":%s,"output":true}}' % number.encode()) == []


def sound(messages: list[Any]) -> None:
    """Check that what a twin says at Pinloop is what a device of ours could say."""
    for message in messages:
        if not message.topic.startswith("pinloop/"):
            continue
        topic = TOPICS.parse(message.topic)
        if topic.kind == PIN_STATE:
            decode_state(message.payload)
        elif topic.kind == INFO:
            decode_info(message.payload)
        else:
            assert topic.kind != PIN_SET
            decode_status(message.payload)


@pytest.mark.parametrize("name", sorted(DEVICES))
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_no_word_of_a_device_does_more_than_be_refused(name: str, data: st.DataObject) -> None:
    """On each of its topics, retained or not, while a command stands; afterwards it is switched off all the same."""
    device = DEVICES[name]
    twin = Twin(device, TOPICS)
    sound(twin.asked("power", json.dumps({"v": 1, "seq": 1, "epoch": "e", "ttl": 60}).encode(), False, 0.0))
    for _ in range(data.draw(st.integers(1, 4))):
        topic = data.draw(st.sampled_from(sorted(device.firmware.reads)))
        try:
            sound(twin.heard(topic, data.draw(SAID), data.draw(st.booleans())))
        except ValueError:
            continue
    ended = twin.tick(61.0)
    sound(ended)
    assert [one for one in ended if not one.topic.startswith("pinloop/")] == list(
        device.firmware.command("power", device.pins["power"].safe, 0)
    )

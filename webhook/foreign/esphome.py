"""ESPHome over MQTT: `<prefix>/<component>/<id>/command`, read back from `.../state` and `<prefix>/status`.

Its states are retained, and not sent again when nothing changed. It has no timer
of its own that MQTT could start: a template switch in the device's YAML is its
dead man's switch (docs/other-firmware.md). `on_turn_on` would not do: it comes with
a changed state, not with a repeated ON.

Sources: ESPHome documentation, "MQTT Client Component" and the components' pages;
esphome/esphome, switch.cpp (publish_state leaves out what was said before) and
template_switch.cpp (write_state stops the action that runs and starts it anew).
"""

import re
from collections.abc import Mapping, Sequence

from contract.payloads import encode
from webhook.foreign.model import Firmware, Heard, Message, Parse, Pin, Read, pin_reader, switched
from webhook.foreign.values import json_object, text_of

__all__ = ["DEFAULTS", "PIN_KEYS", "build"]


def _entity(text: str) -> str:
    if not re.fullmatch(r"(switch|light|fan)/[a-zA-Z0-9_-]{1,64}", text, re.ASCII):
        raise ValueError("is not switch, light or fan and the object's id, as switch/relay")
    return text


PIN_KEYS: dict[str, Parse] = {"entity": _entity}
DEFAULTS: dict[str, str] = {}


def build(_name: str, topic: str, pins: Mapping[str, Pin]) -> Firmware:
    """Return how to talk with the device whose topic_prefix is `topic`."""

    def command(pin: str, value: float, _ttl_s: int) -> Sequence[Message]:
        entity, word = pins[pin].where["entity"], "ON" if value else "OFF"
        payload = encode({"state": word}) if entity.startswith("light/") else word.encode()
        return (Message(f"{topic}/{entity}/command", payload),)

    reads: dict[str, Read] = {f"{topic}/status": _status}
    for pin, one in pins.items():
        reads[f"{topic}/{one.where['entity']}/state"] = pin_reader(pin, _state)
    return Firmware(command, tuple(f"{topic}/{one.where['entity']}/command" for one in pins.values()), reads)


def _state(payload: bytes) -> float:
    word = text_of(payload)
    return switched(str(json_object(payload).get("state")) if word.startswith("{") else word)


def _status(payload: bytes) -> Sequence[Heard]:
    word = text_of(payload)
    if word not in ("online", "offline"):
        raise ValueError(f"{word[:40]!r} is not online or offline")
    return [Heard(online=word == "online")]

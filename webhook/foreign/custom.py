"""Anything else that switches on a message: topics and payloads as the file gives them.

`payload` is for numbers: {value} in it becomes the value, as in
{"brightness":{value}}; `on` and `off` are for switches. Without `state_topic`
nobody reports the pin: it is thought to be what it was told.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from contract.payloads import bare_number
from webhook.foreign.model import Firmware, Heard, Message, Parse, Pin, Read
from webhook.foreign.values import json_object, payload, text_of, topic, yes_no

__all__ = ["DEFAULTS", "DEVICE_KEYS", "PIN_KEYS", "build"]

_VALUE = "{value}"


def _template(text: str) -> str:
    if _VALUE not in payload(text):
        raise ValueError("has no {value}: for one fixed payload each, give on and off")
    return text


def _retain(text: str) -> str:
    return str(yes_no(text))


PIN_KEYS: dict[str, Parse] = {
    "topic": topic, "on": payload, "off": payload, "payload": _template, "retain": _retain, "state_topic": topic,
    "state_key": payload, "state_on": payload, "state_off": payload,
}  # fmt: skip
DEFAULTS = {"on": "ON", "off": "OFF"}
DEVICE_KEYS: dict[str, Parse] = {"status_topic": topic, "online": payload, "offline": payload}


def build(device: Mapping[str, str], pins: Mapping[str, Pin]) -> Firmware:
    """Return how to talk with a device that declares everything itself."""

    def command(pin: str, value: float, _ttl_s: int) -> Sequence[Message]:
        where = pins[pin].where
        text = where["payload"].replace(_VALUE, f"{value:g}") if "payload" in where else where["on" if value else "off"]
        return (Message(where["topic"], text.encode(), where.get("retain") == "True"),)

    states: dict[str, list[str]] = {}  # state topic -> the pins that read it: several may share one
    for pin, one in pins.items():
        if "state_topic" in one.where:
            states.setdefault(one.where["state_topic"], []).append(pin)

    def state(names: Sequence[str], raw: bytes) -> Sequence[Heard]:
        return [heard for pin in names for heard in _state(pin, pins[pin].where, raw)]

    reads: dict[str, Read] = {one: partial(state, names) for one, names in states.items()}
    if "status_topic" in device:
        reads[device["status_topic"]] = partial(_status, device)
    return Firmware(
        command,
        tuple(one.where["topic"] for one in pins.values()),
        reads,
        presumed_online="status_topic" not in device,
        assumed=frozenset(pin for pin, one in pins.items() if "state_topic" not in one.where),
    )


def _state(pin: str, where: Mapping[str, str], raw: bytes) -> list[Heard]:
    found: Any = text_of(raw)
    if "state_key" in where:
        found = json_object(raw)
        for key in where["state_key"].split("."):
            if not isinstance(found, dict) or key not in found:
                return []  # a message about something else
            found = found[key]
        if isinstance(found, bool):
            found = str(found).lower()  # as JSON writes it
    text = str(found)
    if "payload" in where and "state_on" not in where:
        return [Heard(pin, bare_number(text, "state"))]
    for value, key in ((1, "on"), (0, "off")):
        if text == where.get(f"state_{key}", where[key]):
            return [Heard(pin, value)]
    raise ValueError(f"{text[:40]!r} is neither the payload for on nor the one for off")


def _status(device: Mapping[str, str], raw: bytes) -> Sequence[Heard]:
    text = text_of(raw)
    for online, key in ((True, "online"), (False, "offline")):
        if text == device.get(key, key):
            return [Heard(online=online)]
    raise ValueError(f"{text[:40]!r} is neither the payload for online nor the one for offline")

"""Zigbee2MQTT: `<base>/<friendly name>/set` with {"state":"ON"}, read back from `<base>/<friendly name>`.

The dead man's switch is Zigbee's "on with timed off" (`on_time`): the greater of
what is left and what comes counts, so a renewal winds it up, a shorter one
shortens nothing, and OFF ends it. Whether it works is up to the switch: some
ignore the whole message, and stay off. Availability is told only where
Zigbee2MQTT's `availability` is on, so a device is thought to be there until it
says otherwise.

Sources: Zigbee2MQTT documentation, "MQTT topics and messages", "Device
availability", and the devices' pages ("On with timed off"); Zigbee Cluster Library,
3.8.2.3.6 (On With Timed Off); zigbee-herdsman-converters, toZigbee.ts (`on_off`: tells
no state then, the device has to report it) and pull request 2326; Zigbee2MQTT, issues
23845 and 21797 (devices that ignore it).
"""

import re
from collections.abc import Mapping, Sequence

from contract.payloads import encode
from webhook.foreign.model import Firmware, Heard, Message, Parse, Pin, switched
from webhook.foreign.values import json_object, text_of

__all__ = ["DEFAULTS", "PIN_KEYS", "build"]

_LONGEST_ON_S = 6553  # 16 bits of tenths of a second


def _property(text: str) -> str:
    if not re.fullmatch(r"state(_[a-z0-9_]{1,24})?", text, re.ASCII):
        raise ValueError("is not state, or state_ and the name of an endpoint, as state_l1")
    return text


PIN_KEYS: dict[str, Parse] = {"property": _property}
DEFAULTS = {"property": "state"}


def build(_name: str, topic: str, pins: Mapping[str, Pin]) -> Firmware:
    """Return how to talk with the device at `topic`: the base topic and the friendly name."""
    properties = {one.where["property"]: pin for pin, one in pins.items()}

    def command(pin: str, value: float, ttl_s: int) -> Sequence[Message]:
        wanted: dict[str, object] = {pins[pin].where["property"]: "ON" if value else "OFF"}
        if value and pins[pin].dead_man:
            wanted["on_time"] = min(ttl_s, _LONGEST_ON_S)
        return (Message(f"{topic}/set", encode(wanted)),)

    def state(payload: bytes) -> Sequence[Heard]:
        found = json_object(payload)
        return [Heard(pin, switched(str(found[key]))) for key, pin in properties.items() if found.get(key) is not None]

    query = Message(f"{topic}/get", encode(dict.fromkeys(properties, "")))
    return Firmware(
        command,
        (f"{topic}/set", f"{topic}/get"),
        {topic: state, f"{topic}/availability": _availability},
        (query,),
        presumed_online=True,
    )


def _availability(payload: bytes) -> Sequence[Heard]:
    word = text_of(payload)
    if word.startswith("{"):
        word = str(json_object(payload).get("state"))
    if word not in ("online", "offline"):
        raise ValueError(f"{word[:40]!r} is not online or offline")
    return [Heard(online=word == "online")]

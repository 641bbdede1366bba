"""Reads the section `devices` of routes.yml."""

import re
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType

from contract.errors import ContractError
from contract.payloads import bare_number
from contract.topics import Topics, check_device, check_name
from service.block import Block, Problems, one_of
from service.document import Node
from webhook.foreign import custom, esphome, shelly1, shelly2, tasmota, zigbee2mqtt
from webhook.foreign.model import Device, Pin
from webhook.foreign.values import topic, yes_no

__all__ = ["KINDS", "MAX_DEVICES", "make_device", "read_devices"]

KINDS: Mapping[str, ModuleType] = {
    "tasmota": tasmota,
    "zigbee2mqtt": zigbee2mqtt,
    "esphome": esphome,
    "shelly1": shelly1,
    "shelly2": shelly2,
    "custom": custom,
}
# All subscriptions go out in one packet, which the broker's largest packet must hold.
MAX_DEVICES = 100
_MAX_PINS = 32
_GUARDS = ("min_on_s", "min_off_s", "max_on_s", "max_switches_per_h")
_PIN_KEYS = ("safe", "dead_man", *_GUARDS)


def read_devices(problems: Problems, node: Node, topics: Topics) -> dict[str, Device]:
    """Return device id -> what is declared; what is wrong is added to `problems`."""
    found: dict[str, Device] = {}
    if not isinstance(node.value, tuple):
        if node.value:
            problems.add(node.line, "devices", f"is {node.kind}, not a block of devices")
        return found
    if len(node.value) > MAX_DEVICES:
        problems.add(node.line, "devices", f"has {len(node.value)} devices, more than {MAX_DEVICES}")
    users: dict[str, str] = {}  # a topic that is written -> the device that writes it
    for name, line, declared in node.value:
        key = f"devices.{name}"
        if not _named(problems, line, key, name, check_device):
            continue
        if name in found:
            problems.add(line, key, "is declared twice")
            continue
        device = _device(problems, key, name, declared)
        if not device:
            continue
        found[name] = device
        for used in {*device.firmware.writes, *device.firmware.reads}:
            if (used + "/").startswith(topics.prefix + "/"):
                problems.add(line, key, f"uses the topic '{used}', which is Pinloop's own")
        for used in device.firmware.writes:
            if users.setdefault(used, name) != name:
                problems.add(line, key, f"writes to '{used}', as {users[used]} does")
                break
    return found


def _device(problems: Problems, key: str, name: str, node: Node) -> Device | None:
    before = len(problems.found)
    kind = next((value.value for one, _, value in _entries(node) if one == "kind"), "")
    firmware = KINDS.get(str(kind))
    extra = custom.DEVICE_KEYS if firmware is custom else {"topic": topic}
    keys = ("kind", "user", "pins", *(extra if firmware else ("topic",)))
    block = Block(problems, node, "a device", keys, key + ".")
    if not isinstance(node.value, tuple) or not block.required("kind", one_of(tuple(KINDS))) or not firmware:
        return None
    values = {one: str(value) for one, parse in extra.items() if (value := block.optional(one, parse)) is not None}
    if firmware is not custom and "topic" not in block:
        block.add("topic", "is missing: the device's own topic")
    user = block.optional("user", _user) or name
    pins = _pins(problems, key, block, firmware)
    return None if len(problems.found) > before else make_device(name, str(kind), user, pins, values)


def make_device(name: str, kind: str, user: str, pins: Mapping[str, Pin], values: Mapping[str, str]) -> Device:
    """Return a device of which everything is known.

    Args:
        values: the device's own keys, as `topic`.
    """
    module = KINDS[kind]
    firmware = custom.build(values, pins) if module is custom else module.build(name, values["topic"], pins)
    return Device(name, kind, user, pins, firmware, tuple(sorted(values.items())))


def _pins(problems: Problems, key: str, block: Block, firmware: ModuleType) -> dict[str, Pin]:
    if "pins" not in block:
        block.add("pins", "is missing: name at least one")
        return {}
    entries = list(_entries(block["pins"]))
    if not 0 < len(entries) <= _MAX_PINS:
        block.add("pins", f"has {len(entries)} pins, not 1 to {_MAX_PINS}, each with a name and a block of keys")
    found: dict[str, Pin] = {}
    places: dict[str, str] = {}  # what the firmware switches -> the pin's name
    for name, line, node in entries:
        where = f"{key}.pins.{name}"
        if not _named(problems, line, where, name, check_name):
            continue
        if name in found:
            problems.add(line, where, "is declared twice")
        pin = _pin(problems, where, node, firmware)
        if pin is None:
            continue
        found[name] = pin
        place = next((pin.where[one] for one in ("relay", "property", "entity", "topic") if one in pin.where), "")
        if places.setdefault(place, name) != name:
            problems.add(line, where, f"is the same as the pin {places[place]}: '{place}'")
    return found


def _pin(problems: Problems, key: str, node: Node, firmware: ModuleType) -> Pin | None:
    before = len(problems.found)
    keys = firmware.PIN_KEYS
    if node.value == "" and firmware is not custom:  # `power:` alone: everything as it usually is
        node = Node(node.line, ())
    block = Block(problems, node, "a pin", (*_PIN_KEYS, *keys), key + ".")
    given = {one: value for one in keys if (value := block.optional(one, keys[one])) is not None}
    where = {**firmware.DEFAULTS, **{one: str(value) for one, value in given.items()}}
    numbers = firmware is custom and "payload" in where
    safe = block.optional("safe", _number if numbers else _switch)
    guards = {one: value for one in _GUARDS if (value := block.optional(one, _positive)) is not None}
    dead_man = bool(block.optional("dead_man", yes_no))
    for one in _missing(firmware, where):
        block.add(one, "is missing")
    if firmware is custom and numbers and ("on" in given or "off" in given):
        block.add("payload", "does not go with on and off")
    if dead_man and safe:
        block.add("dead_man", "switches off: it does not go with safe: 1")
    if dead_man and where.get("property", "state") != "state":
        block.add("dead_man", "works with the property 'state' only")
    return None if len(problems.found) > before else Pin(safe or 0, dead_man, guards, where)


def _missing(firmware: ModuleType, where: Mapping[str, str]) -> Iterator[str]:
    if firmware is esphome and "entity" not in where:
        yield "entity"
    if firmware is custom and "topic" not in where:
        yield "topic"


def _entries(node: Node) -> tuple[tuple[str, int, Node], ...]:
    return node.value if isinstance(node.value, tuple) else ()


def _named(problems: Problems, line: int, key: str, name: str, check: Callable[[str], object]) -> bool:
    try:
        check(name)
    except ContractError as error:
        problems.add(line, key, f"'{name[:40]}' {error.rule}")
        return False
    return True


def _user(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text, re.ASCII) or text.startswith("svc."):
        raise ValueError("is not a device's user name at the broker: 1 to 64 of A-Z a-z 0-9 _ . -, not svc.")
    return text


def _switch(text: str) -> float:
    if text not in ("0", "1"):
        raise ValueError("is not 0 or 1")
    return int(text)


def _number(text: str) -> float:
    try:
        return bare_number(text, "")
    except ContractError as error:
        raise ValueError(error.rule) from None


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise ValueError("is not more than 0")
    return value

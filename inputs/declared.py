"""inputs.toml: which inputs there are, checked as a whole before anything is connected."""

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from contract.errors import TopicError
from contract.topics import is_device
from inputs.base import Context, Input
from inputs.custom.decode import Custom, Numbers
from inputs.esphome.decode import Esphome
from inputs.espnet.decode import Espnet
from inputs.facts import Fact
from inputs.gateway.accounts import Account, accounts
from inputs.gateway.decode import Gateway
from inputs.homie.decode import Homie
from inputs.isems.decode import Isems
from inputs.shelly1.decode import Shelly1
from inputs.shelly2.decode import Shelly2
from inputs.table import Table
from inputs.tasmota.decode import Tasmota
from inputs.topics import TopicPattern
from inputs.zigbee2mqtt.decode import Zigbee2mqtt
from service.errors import SettingsError
from service.packets import MOST_TOPIC_CHARS

__all__ = ["FIRMWARE", "NONE", "Inputs", "load", "parse"]

# Table of the file -> input.
FIRMWARE: dict[str, type[Input]] = {
    "tasmota": Tasmota,
    "zigbee2mqtt": Zigbee2mqtt,
    "esphome": Esphome,
    "shelly1": Shelly1,
    "shelly2": Shelly2,
    "homie": Homie,
    "isems": Isems,
    "espnet": Espnet,
}
_MOST_TOPICS = 4096  # that are remembered
_BESIDE = ("version", "devices", "numbers", "custom", "gateways")


class Inputs:
    """The inputs of a file.

    Args:
        inputs: in the order in which they are asked for a topic; the first whose filter matches has it.
        gateways: who may post readings.

    Attributes:
        inputs, gateways: the same.
    """

    def __init__(self, inputs: Sequence[Input], gateways: Sequence[Account] = ()) -> None:
        self.inputs = list(inputs)
        self.gateways = list(gateways)
        self._patterns = [(TopicPattern(text), one) for one in inputs for text in (*one.filters, *one.own)]
        self.find = lru_cache(maxsize=_MOST_TOPICS)(self._find)

    def filters(self) -> list[str]:
        """Return what is to be subscribed to."""
        return list(dict.fromkeys(text for one in self.inputs for text in one.filters))

    def rights(self) -> list[tuple[str, str, str]]:
        """Return what the inputs' devices need at the broker, see `Input.rights`."""
        return list(dict.fromkeys(right for one in self.inputs for right in one.rights))

    def get(self, kind: type[Any]) -> Iterator[Any]:
        """Yield the inputs of a class."""
        return (one for one in self.inputs if isinstance(one, kind))

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """Return what a message says.

        Raises:
            ContractError: it cannot be read, or no input has its topic (reason "prefix").
        """
        one = self.find(topic) if len(topic) <= MOST_TOPIC_CHARS else None
        if one is None:
            raise TopicError("topic", topic, "is of no input", "prefix")
        return one.decode(topic, payload)

    def _find(self, topic: str) -> Input | None:
        if topic.startswith("$"):
            return None  # MQTT 3.1.1, 4.7.2: wildcards do not reach there
        return next((one for pattern, one in self._patterns if pattern.match(topic) is not None), None)


NONE = Inputs(())


def load(path: Path) -> Inputs:
    """Return the inputs of a file; those of no file when `path` is empty.

    Raises:
        SettingsError: the file cannot be read, or the first mistake in it, by table, key, value and rule.
    """
    if not path.name:
        return NONE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"inputs_path: {str(path)!r} cannot be read ({error.strerror})") from None
    except UnicodeError:
        raise SettingsError(f"{path}: is not UTF-8") from None
    return parse(text, path.name)


def parse(text: str, where: str = "inputs.toml") -> Inputs:
    """Return the inputs that a file's text declares; raises like `load`."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{where}: is not TOML: {error}") from None
    if document.pop("version", 1) != 1:
        raise SettingsError(f"{where}: version: must be 1")
    context = Context(_devices(where, document.pop("devices", {})))
    found: list[Input] = []
    listed = document.pop("custom", [])
    if not isinstance(listed, list):
        raise SettingsError(f"{where}: custom: is a list of tables: each begins with [[custom]]")
    for number, items in enumerate(listed, start=1):
        _add(found, Custom, Table(f"{where}: custom {number}", items), context)
    if numbers := document.pop("numbers", None):
        _add(found, Numbers, Table(f"{where}: numbers", {"topics": numbers}), context)
    gateways = accounts(f"{where}: gateways", document.pop("gateways", {}))
    if gateways:
        found.append(Gateway(Table(where, {}), context))
    for name in list(document):
        if name not in FIRMWARE:
            near = difflib.get_close_matches(name, [*FIRMWARE, *_BESIDE], n=1)
            hint = f" (did you mean {near[0]}?)" if near else f"; there are: {', '.join([*FIRMWARE, *_BESIDE])}"
            raise SettingsError(f"{where}: {name}: is no input{hint}")
    for name, kind in FIRMWARE.items():
        if name in document:
            _add(found, kind, Table(f"{where}: {name}", document[name]), context)
    return Inputs(found, gateways)


def _add(found: list[Input], kind: type[Input], table: Table, context: Context) -> None:
    enabled = table.flag("enabled", True)
    one = kind(table, context)
    table.done()
    for text in one.filters:
        try:
            TopicPattern(text)
        except ValueError as error:
            raise table.wrong("topic", text, str(error)) from None
    if enabled:
        found.append(one)


def _devices(where: str, given: object) -> dict[str, str]:
    if not isinstance(given, dict):
        raise SettingsError(f"{where}: devices: {given!r} is not a table")
    for name, device in given.items():
        if not is_device(device):
            rule = "is not a device id: 1 to 32 of a-z 0-9 _ -, first a letter or digit"
            raise SettingsError(f"{where}: devices: {name}: {device!r} {rule}")
    return {str(name): str(device) for name, device in given.items()}

"""What a broker's messages look like to nobody yet, as tables for inputs.toml. Pure: takes messages, returns text."""

import json
from collections import OrderedDict
from dataclasses import dataclass, field

from contract.errors import ContractError
from inputs import Inputs, Readings, Status
from inputs.declared import FIRMWARE, parse
from inputs.names import device_id, sensor_name
from inputs.times import instant
from inputs.values import Path, document, flatten, scalar

__all__ = ["Learner"]

_MOST_TOPICS = 5000
_MOST_SHOWN = 100
_TIME_KEYS = ("timestamp", "time", "ts", "datetime", "t")


@dataclass
class _Shape:
    """JSON topics that differ in one level and say the same paths."""

    topics: list[str]
    paths: dict[str, Path] = field(default_factory=dict)  # sensor -> path
    time: str = ""


class Learner:
    """Gathers what is not understood.

    Args:
        known: the inputs that there are.
        prefix: of our own topics.
    """

    def __init__(self, known: Inputs, prefix: str) -> None:
        self._known = known
        self._own = prefix + "/"
        self._every = parse("".join(f"[{name}]\n" for name in FIRMWARE if name != "espnet"))
        self.seen = 0
        self.understood: set[str] = set()
        self.firmware: OrderedDict[str, str] = OrderedDict()  # input -> a topic that it would read
        self.numbers: OrderedDict[str, str] = OrderedDict()  # topic -> "device/sensor"
        self._shapes: list[_Shape] = []
        self._json: set[str] = set()
        self.others: OrderedDict[str, str] = OrderedDict()  # topic -> its payload

    @property
    def unknown(self) -> int:
        """How many topics nobody reads yet."""
        return len(self.numbers) + len(self._json) + len(self.others)

    def take(self, topic: str, payload: bytes) -> None:
        """Look at a message."""
        self.seen += 1
        if topic.startswith((self._own, "$")) or topic in self.understood or topic in self.numbers:
            return
        if self._says(self._known, topic, payload):
            self.understood.add(topic)
            return
        if self.unknown >= _MOST_TOPICS or topic in self._json:
            return
        one = self._every.find(topic)
        if one is not None and one.name not in self.firmware and self._says(self._every, topic, payload):
            self.firmware[one.name] = topic
        if one is not None and one.name in self.firmware:
            return
        try:
            scalar(payload, "payload")
            self.numbers[topic] = _target(topic)
        except ContractError:
            self._look_inside(topic, payload)

    def toml(self) -> str:
        """Return tables for inputs.toml; "" when there is nothing to add."""
        parts: list[str] = []
        for name, topic in self.firmware.items():
            parts.append(f"# {topic}\n[{name}]")
        if self.numbers:
            lines = [f"{_quoted(topic)} = {_quoted(target)}" for topic, target in self.numbers.items()]
            parts.append("[numbers]\n" + "\n".join(lines))
        for shape in self._shapes:
            pattern, wild = _pattern(shape.topics)
            lines = [f"[[custom]]  # {len(shape.topics)} topic(s)", f"topic = {_quoted(pattern)}"]
            device = "{1}" if wild else _target(shape.topics[0]).partition("/")[0]
            lines.append(f"device = {_quoted(device)}")
            if shape.time:
                lines.append(f"time = {_quoted(shape.time)}")
            lines.append("[custom.values]")
            lines += [f"{sensor} = {_quoted(_spelled(path))}" for sensor, path in shape.paths.items()]
            parts.append("\n".join(lines))
        if self.others:
            shown = [f"# {topic}: {payload}" for topic, payload in list(self.others.items())[:_MOST_SHOWN]]
            parts.append("# Not understood, neither a number nor JSON with one:\n" + "\n".join(shown))
        return "\n\n".join(parts) + "\n" if parts else ""

    @staticmethod
    def _says(inputs: Inputs, topic: str, payload: bytes) -> bool:
        try:
            return any(isinstance(fact, Readings | Status) for fact in inputs.decode(topic, payload))
        except ContractError:
            return False

    def _look_inside(self, topic: str, payload: bytes) -> None:
        try:
            whole = document(payload, "payload")
        except ContractError:
            whole = None
        found = flatten(whole, []) if isinstance(whole, dict) else []
        time = next((key for key in _TIME_KEYS if isinstance(whole, dict) and _is_time(whole.get(key))), "")
        paths: dict[str, Path] = {}
        for path, _ in found:
            try:
                if path != (time,):
                    paths.setdefault(sensor_name(path), path)
            except ContractError:
                continue
        if not paths:
            self.others[topic] = repr(payload[:60])[1:].replace("\n", " ")
            return
        self.others.pop(topic, None)
        self._json.add(topic)
        for shape in self._shapes:
            if shape.paths == paths and shape.time == time and _pattern([*shape.topics, topic])[0]:
                shape.topics.append(topic)
                return
        self._shapes.append(_Shape([topic], paths, time))


def _pattern(topics: list[str]) -> tuple[str, bool]:
    """Return the filter for topics that differ in one level only ("" when not), and whether it has a wildcard."""
    levels = [topic.split("/") for topic in topics]
    if len({len(one) for one in levels}) > 1:
        return "", False
    differing = [index for index, column in enumerate(zip(*levels, strict=True)) if len(set(column)) > 1]
    if len(differing) > 1:
        return "", False
    first = list(levels[0])
    for index in differing:
        first[index] = "+"
    return "/".join(first), bool(differing)


def _target(topic: str) -> str:
    """Return device/sensor for a topic: its last level is the sensor, the one before it the device."""
    levels = [level for level in topic.split("/") if level] or ["topic"]
    try:
        device = device_id(levels[-2] if len(levels) > 1 else levels[0])
    except ContractError:
        device = "device"
    try:
        sensor = sensor_name((levels[-1],))
    except ContractError:
        sensor = "value"
    return f"{device}/{sensor}"


def _is_time(value: object) -> bool:
    at_s = instant(value)
    return at_s is not None and at_s > 1e9


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _spelled(path: Path) -> str:
    steps = []
    for step in path:
        if step.isdecimal():
            steps.append(f"[{step}]")
        elif any(char in step for char in '.[]"\\ '):
            steps.append("." + json.dumps(step, ensure_ascii=False))
        else:
            steps.append("." + step)
    return "".join(steps).removeprefix(".")

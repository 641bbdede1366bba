"""Loads rules.yml: every mistake of the file is found and told, and only a file without any is used."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from contract.errors import ContractError
from contract.topics import check_device
from rules import expressions
from rules.document import Node, parse
from rules.errors import Problem, RulesError
from rules.model import (
    DEVICE,
    FIRE,
    GRAFANA,
    HOLD,
    RELEASE,
    STREAM,
    Comparison,
    Condition,
    Daily,
    NoData,
    Rule,
    Target,
)

__all__ = ["ALERT", "TIMER", "load_rules", "parse_rules"]

T = TypeVar("T")

ALERT = "alert"
TIMER = "timer"
_SLOTS = ("safety", ALERT, TIMER, "threshold")  # `manual` is for people

_ENGINES = (STREAM, GRAFANA)
_DOS = (RELEASE, HOLD, FIRE)
_CONDITION_KEYS = ("when", "over", "clear", "for", "device", "no_data")
_DAILY_KEYS = ("daily", "lasts", "tz")
_KEYS = ("name", *_CONDITION_KEYS, *_DAILY_KEYS, "then", "slot", "engine")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_NAME_RULE = "is not a rule's name: 1 to 64 of a-z 0-9 _ -, first a letter or digit"
_MAX_FILE_BYTES = 1 << 20
_MAX_TARGETS = 64  # the webhook takes no more from one alert
_DEFAULT_NO_DATA_S = 60.0
_LONGEST_WINDOW_S = 3600.0
_DAY_S = 86400.0


def load_rules(path: Path) -> list[Rule]:
    """Return the rules in the file.

    Raises:
        RulesError: the file cannot be read, or has mistakes: all of them.
    """
    try:
        data = path.read_bytes()
        if len(data) > _MAX_FILE_BYTES:
            raise RulesError([Problem(str(path), 0, "", "", f"is longer than {_MAX_FILE_BYTES} bytes")])
        return parse_rules(data.decode("utf-8-sig"), str(path))
    except OSError as error:
        raise RulesError([Problem(str(path), 0, "", "", f"cannot be read ({error.strerror})")]) from None
    except UnicodeError:
        raise RulesError([Problem(str(path), 0, "", "", "is not UTF-8")]) from None


def parse_rules(text: str, path: str = "rules.yml") -> list[Rule]:
    """Return the rules in `text`; `path` stands in the messages.

    Raises:
        RulesError: there are mistakes; it holds all of them.
    """
    return _Loader(path).load(parse(text, path))


class _Loader:
    """Collects problems while it reads; what cannot be read is None and is not looked at again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._problems: list[Problem] = []
        self._rule = ""

    def load(self, root: Node) -> list[Rule]:
        keys = self._mapping(root, "", ("version", "rules"))
        self._version(root, keys)
        rules: list[Rule | None] = []
        lines: dict[str, int] = {}
        if keys is not None and "rules" not in keys:
            self._problem(root.line, "rules", "is missing")
        listed = keys.get("rules") if keys else None
        if listed is not None and isinstance(listed.value, list):
            for index, node in enumerate(listed.value, 1):
                rules.append(self._one(node, index, lines))
        elif listed is not None and listed.value != "":
            self._problem(listed.line, "rules", f"is {listed.kind}, not a list of rules: begin each with '- name:'")
        if self._problems:
            raise RulesError(sorted(self._problems, key=lambda problem: problem.line))
        return [rule for rule in rules if rule]

    def _version(self, root: Node, keys: dict[str, Node] | None) -> None:
        if keys is None:
            return
        if "version" not in keys:
            self._problem(root.line, "version", "is missing: begin the file with 'version: 1'")
        elif keys["version"].value != "1":
            self._problem(keys["version"].line, "version", f"{_shown(keys['version'])} is not 1")

    def _one(self, node: Node, index: int, lines: dict[str, int]) -> Rule | None:
        """Read one rule; `lines` is keyed by the names met so far."""
        self._rule = f"#{index}"
        if isinstance(node.value, tuple):
            found = next((value for key, _, value in node.value if key == "name"), None)
            if found and isinstance(found.value, str) and _NAME.fullmatch(found.value):
                self._rule = found.value
        keys = self._mapping(node, "", _KEYS)
        if keys is None:
            self._rule = ""
            return None
        name = self._required(keys, node, "name", _name)
        if name in lines:
            self._problem(keys["name"].line, "name", f"'{name}' is already the name of the rule in line {lines[name]}")
        elif name:
            lines[name] = node.line
        trigger = self._daily(keys, node) if "daily" in keys else self._condition(keys, node)
        then = self._then(keys, node)
        for target in then or ():
            if target.device == DEVICE and "daily" in keys:
                self._problem(keys["then"].line, "then", f"'{DEVICE}' has no meaning in a daily rule: name the device")
        slot = self._choice(keys, "slot", _SLOTS, TIMER if "daily" in keys else ALERT)
        engine = self._choice(keys, "engine", _ENGINES, STREAM)
        if engine == GRAFANA and trigger:
            self._grafana(keys, trigger)
        self._rule = ""
        if name and trigger and then and slot and engine:
            return Rule(name, trigger, tuple(then), slot, engine)
        return None

    def _condition(self, keys: dict[str, Node], node: Node) -> Condition | None:
        for key in _DAILY_KEYS:
            if key in keys:
                self._problem(keys[key].line, key, "belongs to a rule with daily, not to one with when")
        when = self._required(keys, node, "when", expressions.comparison)
        over_s, reduce = self._optional(keys, "over", expressions.window) or (0.0, "last")
        if over_s > _LONGEST_WINDOW_S:
            self._problem(keys["over"].line, "over", f"{_shown(keys['over'])} is longer than 1h")
        for_s = self._optional(keys, "for", expressions.duration_s) or 0.0
        clear = self._clear(keys, when)
        devices = self._devices(keys, when[0] if when else "")
        no_data = self._no_data(keys, over_s, reduce)
        if not when:
            return None
        return Condition(when[1], devices, when[2], clear, over_s, reduce, for_s, no_data)

    def _clear(self, keys: dict[str, Node], when: tuple[str, str, Comparison] | None) -> Comparison | None:
        found = self._optional(keys, "clear", expressions.comparison)
        if not found or not when:
            return None
        line, shown = keys["clear"].line, _shown(keys["clear"])
        if found[1] != when[1] or found[0] not in ("", when[0]):
            self._problem(line, "clear", f"{shown} is about another sensor than when {_shown(keys['when'])}")
        elif (both := expressions.overlap(when[2], found[2])) is not None:
            text = f"{shown} holds together with when {_shown(keys['when'])} (at {both:g}): it would never settle"
            self._problem(line, "clear", text)
        return found[2]

    def _devices(self, keys: dict[str, Node], dotted: str) -> tuple[str, ...] | None:
        """Return the devices that a condition is about, None for every one."""
        if "device" not in keys:
            return (dotted,) if dotted else None
        node = keys["device"]
        if dotted:
            self._problem(
                node.line, "device", f"{_shown(node)} comes on top of when, which names the device '{dotted}'"
            )
        items = node.value if isinstance(node.value, list) else [node]
        if not items:
            self._problem(node.line, "device", "is an empty list: the rule would watch nothing")
        found: list[str] = []
        for item in items:
            text = self._parsed(item, "device", _device_or_all)
            if text in found:
                self._problem(item.line, "device", f"'{text}' is listed twice")
            elif text:
                found.append(text)
        if "*" in found and len(found) > 1:
            self._problem(node.line, "device", "'*' means every device: list it alone, or the others without it")
        return None if "*" in found else tuple(found)

    def _no_data(self, keys: dict[str, Node], over_s: float, reduce: str) -> NoData | None:
        node = keys.get("no_data")
        if reduce == "count":
            if node:
                self._problem(node.line, "no_data", "does not belong to a count: it is 0 when no reading comes")
            return None
        default = NoData(max(_DEFAULT_NO_DATA_S, over_s), RELEASE)
        if node is None:
            return default
        inner = self._mapping(node, "no_data", ("after", "do"))
        if inner is None:
            return None
        do = self._choice(inner, "do", _DOS, RELEASE, "no_data.")
        after_s = self._optional(inner, "after", expressions.duration_s, "no_data.")
        if after_s is None:
            after_s = default.after_s
        elif not after_s or after_s < over_s:
            least = f"shorter than over {_shown(keys['over'])}" if after_s else "no time"
            self._problem(inner["after"].line, "no_data.after", f"{_shown(inner['after'])} is {least}")
        return NoData(after_s, do or RELEASE)

    def _daily(self, keys: dict[str, Node], node: Node) -> Daily | None:
        for key in _CONDITION_KEYS:
            if key in keys:
                self._problem(keys[key].line, key, "belongs to a rule with when, not to one with daily")
        at = self._required(keys, node, "daily", expressions.time_of_day)
        lasts_s = self._required(keys, node, "lasts", expressions.duration_s)
        tz = self._required(keys, node, "tz", expressions.timezone)
        if lasts_s is not None and not 0 < lasts_s <= _DAY_S:
            self._problem(keys["lasts"].line, "lasts", f"{_shown(keys['lasts'])} is not more than 0s and at most 24h")
        return Daily(at, lasts_s, tz) if at is not None and lasts_s and tz else None

    def _then(self, keys: dict[str, Node], node: Node) -> list[Target] | None:
        if "then" not in keys:
            self._problem(node.line, "then", "is missing: say what to do, as [lights/red = 1]")
            return None
        listed = keys["then"]
        if not isinstance(listed.value, list):
            self._problem(listed.line, "then", f"{_shown(listed)} is {listed.kind}, not a list: as [lights/red = 1]")
            return None
        if not 0 < len(listed.value) <= _MAX_TARGETS:
            self._problem(listed.line, "then", f"has {len(listed.value)} targets, not 1 to {_MAX_TARGETS}")
        targets: list[Target] = []
        for item in listed.value:
            target = self._parsed(item, "then", expressions.target)
            if target and any((target.device, target.pin) == (other.device, other.pin) for other in targets):
                self._problem(item.line, "then", f"{_shown(item)} names the pin {target.device}/{target.pin} again")
            elif target:
                targets.append(target)
        return targets

    def _grafana(self, keys: dict[str, Node], trigger: Condition | Daily) -> None:
        line = keys["engine"].line
        if isinstance(trigger, Daily):
            self._problem(line, "engine", "'grafana' has no daily rules: use stream")
        elif trigger.reduce == "count":
            self._problem(line, "engine", "'grafana' sees no row where no reading is: count needs stream")
        elif trigger.no_data and trigger.no_data.do == FIRE:
            self._problem(line, "engine", "'grafana' cannot fire for one silent device: no_data fire needs stream")

    # Reading one value

    def _mapping(self, node: Node, key: str, allowed: Sequence[str]) -> dict[str, Node] | None:
        """Return key -> node; unknown and repeated keys are problems."""
        if not isinstance(node.value, tuple):
            self._problem(node.line, key, f"is {node.kind}, not a block of keys: {', '.join(allowed)}")
            return None
        prefix = f"{key}." if key else ""
        found: dict[str, Node] = {}
        for name, line, value in node.value:
            if name not in allowed:
                where = key or ("a rule" if self._rule else "the file")
                text = f"is not a key of {where}{expressions.nearest(name, allowed)}"
                self._problem(line, prefix + name, text)
            elif name in found:
                self._problem(line, prefix + name, f"is written twice (first in line {found[name].line})")
            else:
                found[name] = value
        return found

    def _required(self, keys: dict[str, Node], node: Node, key: str, parse_text: Callable[[str], T]) -> T | None:
        """Return what `key` says; that it is missing is a problem of the block `node`."""
        if key not in keys:
            self._problem(node.line, key, "is missing")
            return None
        return self._parsed(keys[key], key, parse_text)

    def _optional(self, keys: dict[str, Node], key: str, parse_text: Callable[[str], T], prefix: str = "") -> T | None:
        return self._parsed(keys[key], prefix + key, parse_text) if key in keys else None

    def _choice(
        self, keys: dict[str, Node], key: str, choices: Sequence[str], default: str, prefix: str = ""
    ) -> str | None:
        if key not in keys:
            return default

        def chosen(text: str) -> str:
            if text not in choices:
                raise ValueError(f"is not one of {', '.join(choices)}{expressions.nearest(text, choices)}")
            return text

        return self._parsed(keys[key], prefix + key, chosen)

    def _parsed(self, node: Node, key: str, parse_text: Callable[[str], T]) -> T | None:
        """Return what a scalar says; anything else is a problem."""
        if not isinstance(node.value, str) or not node.value:
            self._problem(node.line, key, f"is {node.kind}, where one value belongs")
            return None
        try:
            return parse_text(node.value)
        except ValueError as error:
            self._problem(node.line, key, f"{_shown(node)} {error}")
            return None

    def _problem(self, line: int, key: str, text: str) -> None:
        self._problems.append(Problem(self._path, line, self._rule, key, text))


def _shown(node: Node) -> str:
    if not isinstance(node.value, str):
        return node.kind
    return "'" + (node.value if len(node.value) <= 60 else node.value[:57] + "...") + "'"


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(_NAME_RULE)
    return text


def _device_or_all(text: str) -> str:
    try:
        return text if text == "*" else check_device(text)
    except ContractError as error:
        raise ValueError(error.rule) from None

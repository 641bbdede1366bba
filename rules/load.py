"""Loads rules.yml: every mistake of the file is found and told, and only a file without any is used."""

import re
from pathlib import Path

from contract.errors import ContractError
from contract.topics import check_device
from rules import expressions
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
from service.block import Block, Problems, one_of
from service.document import Node, parse

__all__ = ["load_rules", "parse_rules"]

_CONDITION_KEYS = ("when", "over", "clear", "for", "device", "no_data")
_DAILY_KEYS = ("daily", "lasts", "tz")
_KEYS = ("name", *_CONDITION_KEYS, *_DAILY_KEYS, "then", "slot", "engine")
_SLOTS = ("safety", "alert", "timer", "threshold")  # `manual` is for people

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
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
    problems = Problems(path)
    rules = _file(problems, parse(text, path))
    if problems.found:
        raise RulesError(sorted(problems.found, key=lambda problem: problem.line))
    return rules


def _file(problems: Problems, root: Node) -> list[Rule]:
    block = Block(problems, root, "the file", ("version", "rules"))
    if not isinstance(root.value, tuple):
        return []
    if "version" not in block:
        block.add("version", "is missing: begin the file with 'version: 1'")
    elif block["version"].value != "1":
        block.add("version", f"{block.shown('version')} is not 1")
    if "rules" not in block:
        block.add("rules", "is missing")
        return []
    listed = block["rules"]
    if not isinstance(listed.value, list):
        if listed.value:
            block.add("rules", f"is {listed.kind}, not a list of rules: begin each with '- name:'")
        return []
    lines: dict[str, int] = {}  # name -> line of the rule
    rules = [_rule(problems, node, index, lines) for index, node in enumerate(listed.value, 1)]
    return [rule for rule in rules if rule]


def _rule(problems: Problems, node: Node, index: int, lines: dict[str, int]) -> Rule | None:
    """Read one rule; its messages name it by its place until its name is known to be good."""
    problems.rule = _name_of(node) or f"#{index}"
    try:
        block = Block(problems, node, "a rule", _KEYS)
        if not isinstance(node.value, tuple):
            return None
        name = block.required("name", _name)
        if name in lines:
            block.add("name", f"'{name}' is already the name of the rule in line {lines[name]}")
        elif name:
            lines[name] = node.line
        is_daily = "daily" in block
        trigger = _daily(block) if is_daily else _condition(problems, block)
        then = _then(problems, block)
        if is_daily and any(target.device == DEVICE for target in then):
            block.add("then", f"'{DEVICE}' has no meaning in a daily rule: name the device")
        slot = block.optional("slot", one_of(_SLOTS)) or ("timer" if is_daily else "alert")
        engine = block.optional("engine", one_of((STREAM, GRAFANA))) or STREAM
        if trigger and engine == GRAFANA:
            _grafana(block, trigger)
        return Rule(name, trigger, tuple(then), slot, engine) if name and trigger else None
    finally:
        problems.rule = ""


def _name_of(node: Node) -> str:
    """Return the rule's name if it has a good one, else ""."""
    for key, _, value in node.value if isinstance(node.value, tuple) else ():
        if key == "name" and isinstance(value.value, str) and _NAME.fullmatch(value.value):
            return value.value
    return ""


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("is not a rule's name: 1 to 64 of a-z 0-9 _ -, first a letter or digit")
    return text


def _condition(problems: Problems, block: Block) -> Condition | None:
    for key in _DAILY_KEYS:
        if key in block:
            block.add(key, "belongs to a rule with daily, not to one with when")
    when = block.required("when", expressions.comparison)
    over_s, reduce = block.optional("over", expressions.window) or (0.0, "last")
    if over_s > _LONGEST_WINDOW_S:
        block.add("over", f"{block.shown('over')} is longer than 1h")
    for_s = block.optional("for", expressions.duration_s) or 0.0
    clear = _clear(block, when) if when else None
    devices = _devices(problems, block, when[0] if when else "")
    no_data = _no_data(problems, block, over_s, reduce)
    return Condition(when[1], devices, when[2], clear, over_s, reduce, for_s, no_data) if when else None


def _clear(block: Block, when: tuple[str, str, Comparison]) -> Comparison | None:
    found = block.optional("clear", expressions.comparison)
    if not found:
        return None
    shown, against = block.shown("clear"), f"when {block.shown('when')}"
    if found[1] != when[1] or found[0] not in ("", when[0]):
        block.add("clear", f"{shown} is about another sensor than {against}")
    elif (both := expressions.overlap(when[2], found[2])) is not None:
        block.add("clear", f"{shown} holds together with {against} (at {both:g}): it would never settle")
    return found[2]


def _devices(problems: Problems, block: Block, dotted: str) -> tuple[str, ...] | None:
    """Return the devices that a condition is about, None for every one; `dotted` is the one that `when` names."""
    if "device" not in block:
        return (dotted,) if dotted else None
    node = block["device"]
    if dotted:
        block.add("device", f"{node.shown} comes on top of when, which names the device '{dotted}'")
    items = node.value if isinstance(node.value, list) else [node]
    if not items:
        block.add("device", "is an empty list: the rule would watch nothing")
    found: list[str] = []
    for item in items:
        device = problems.parsed(item, "device", _device)
        if device in found:
            problems.add(item.line, "device", f"'{device}' is listed twice")
        elif device:
            found.append(device)
    if "*" in found and len(found) > 1:
        block.add("device", "'*' means every device: list it alone, or the others without it")
    return None if "*" in found else tuple(found)


def _device(text: str) -> str:
    try:
        return text if text == "*" else check_device(text)
    except ContractError as error:
        raise ValueError(error.rule) from None


def _no_data(problems: Problems, block: Block, over_s: float, reduce: str) -> NoData | None:
    if reduce == "count":
        if "no_data" in block:
            block.add("no_data", "does not belong to a count: it is 0 when no reading comes")
        return None
    after_s, do = max(_DEFAULT_NO_DATA_S, over_s), RELEASE
    if "no_data" in block:
        inner = Block(problems, block["no_data"], "no_data", ("after", "do"), "no_data.")
        do = inner.optional("do", one_of((RELEASE, HOLD, FIRE))) or do
        said_s = inner.optional("after", expressions.duration_s)
        if said_s is not None and (not said_s or said_s < over_s):
            least = f"shorter than over {block.shown('over')}" if said_s else "no time"
            inner.add("after", f"{inner.shown('after')} is {least}")
        after_s = after_s if said_s is None else said_s
    return NoData(after_s, do)


def _daily(block: Block) -> Daily | None:
    for key in _CONDITION_KEYS:
        if key in block:
            block.add(key, "belongs to a rule with when, not to one with daily")
    at = block.required("daily", expressions.time_of_day)
    lasts_s = block.required("lasts", expressions.duration_s)
    tz = block.required("tz", expressions.timezone)
    if lasts_s is not None and not 0 < lasts_s <= _DAY_S:
        block.add("lasts", f"{block.shown('lasts')} is not more than 0s and at most 24h")
    return Daily(at, lasts_s, tz) if at is not None and lasts_s and tz else None


def _then(problems: Problems, block: Block) -> list[Target]:
    if "then" not in block:
        block.add("then", "is missing: say what to do, as [lights/red = 1]")
        return []
    node = block["then"]
    if not isinstance(node.value, list):
        block.add("then", f"{node.shown} is not a list: write it as [lights/red = 1]")
        return []
    if not 0 < len(node.value) <= _MAX_TARGETS:
        block.add("then", f"has {len(node.value)} targets, not 1 to {_MAX_TARGETS}")
    found: dict[tuple[str, str], Target] = {}
    for item in node.value:
        target = problems.parsed(item, "then", expressions.target)
        if target and (target.device, target.pin) in found:
            problems.add(item.line, "then", f"{item.shown} names the pin {target.device}/{target.pin} again")
        elif target:
            found[target.device, target.pin] = target
    return list(found.values())


def _grafana(block: Block, trigger: Condition | Daily) -> None:
    if isinstance(trigger, Daily):
        block.add("engine", "'grafana' has no daily rules: use stream")
    elif trigger.reduce == "count":
        block.add("engine", "'grafana' sees no row where no reading is: count needs stream")
    elif trigger.no_data and trigger.no_data.do == FIRE:
        block.add("engine", "'grafana' cannot fire for one silent device: no_data fire needs stream")

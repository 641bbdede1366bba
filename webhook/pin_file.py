"""pins.yml: guards, preference and dry-run of single pins.

version: 1
pins:
  pump/main:
    preference: low                    # who wins within a slot: high (default), low, newest
    min_on_s: 60
    min_off_s: 120
    max_on_s: 900
    max_switches_per_h: 6
    exclusive_with: [pump/reverse]     # holds for both
    quiet: "22:00-07:00"
    tz: Europe/Madrid                  # of `quiet`
    dry_run: true
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from contract.errors import ContractError
from contract.topics import check_device, check_name
from service.block import Block, Problems, one_of
from service.document import DocumentError, Node, Problem, parse
from webhook.arbiter import PREFERENCES
from webhook.commands import Pin
from webhook.guards import NO_LIMITS, Limits, Quiet

__all__ = ["PinConfig", "load_pins"]

_KEYS = (
    "preference", "min_on_s", "min_off_s", "max_on_s", "max_switches_per_h", "exclusive_with", "quiet", "tz", "dry_run",
)  # fmt: skip
_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_LONGEST_S = 7 * 86400


@dataclass(frozen=True, slots=True)
class PinConfig:
    """What the file says of one pin.

    Attributes:
        preference: one of PREFERENCES, "" when it is not said.
    """

    preference: str = ""
    limits: Limits = NO_LIMITS
    dry_run: bool = False


class _PinProblem(Problem):
    WORD = "pin"


def load_pins(path: Path) -> dict[Pin, PinConfig]:
    """Return what the file says; nothing for an empty path.

    Raises:
        DocumentError: it cannot be read, or something in it is outside the rules; it names every mistake.
    """
    if not path.name:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8"
        raise DocumentError([Problem(str(path), 0, "", "", f"cannot be read ({why.lower()})")]) from None
    problems = Problems(str(path), _PinProblem)
    found = _pins(parse(text, str(path)), problems)
    if problems.found:
        raise DocumentError(problems.found)
    return _both_ways(found)


def _pins(root: Node, problems: Problems) -> dict[Pin, PinConfig]:
    top = Block(problems, root, "pins.yml", ("version", "pins"))
    top.required("version", one_of(("1",)))
    found: dict[Pin, PinConfig] = {}
    if "pins" not in top or not isinstance(top["pins"].value, tuple):
        top.add("pins", "is not a block of pins, as `pump/main:`")
        return found
    for name, line, node in top["pins"].value:
        problems.rule = name
        try:
            pin = _pin(name)
        except ValueError as error:
            problems.add(line, "", str(error))
            continue
        if pin in found:
            problems.add(line, "", "is written twice")
        found[pin] = _config(pin, Block(problems, node, "a pin", _KEYS), problems)
    return found


def _config(pin: Pin, block: Block, problems: Problems) -> PinConfig:
    seconds = {key: block.optional(key, _number(_LONGEST_S)) or 0 for key in ("min_on_s", "min_off_s", "max_on_s")}
    if 0 < seconds["max_on_s"] <= seconds["min_on_s"]:
        block.add("max_on_s", f"{block.shown('max_on_s')} is not greater than min_on_s")
    rivals: frozenset[Pin] = frozenset()
    if "exclusive_with" in block:
        node = block["exclusive_with"]
        nodes = node.value if isinstance(node.value, list) else [node]
        rivals = frozenset(other for one in nodes if (other := problems.parsed(one, "exclusive_with", _pin)))
        if pin in rivals:
            block.add("exclusive_with", "names the pin itself")
    limits = Limits(
        **seconds,
        max_switches_per_h=int(block.optional("max_switches_per_h", _whole) or 0),
        exclusive_with=rivals,
        quiet=_quiet(block),
    )
    preference = block.optional("preference", one_of(PREFERENCES)) or ""
    return PinConfig(preference, limits, block.optional("dry_run", one_of(("true", "false"))) == "true")


def _quiet(block: Block) -> Quiet | None:
    if "quiet" not in block:
        if "tz" in block:
            block.add("tz", "is of no use without quiet")
        return None
    span = block.optional("quiet", _span)
    if "tz" not in block:
        block.add("tz", "is missing: quiet hours follow the clock of a time zone such as Europe/Madrid")
    zone = block.optional("tz", _zone)
    return Quiet(*span, zone) if span and zone else None


def _pin(text: str) -> Pin:
    device, _, name = text.partition("/")
    try:
        return check_device(device), check_name(name, "pin")
    except ContractError as error:
        raise ValueError(f"is not device/pin ({error})") from None


def _number(most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text, re.ASCII) or float(text) > most:
            raise ValueError(f"is not a number from 0 to {most:g}")
        return float(text)

    return read


def _whole(text: str) -> float:
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or int(text) > 3600:
        raise ValueError("is not a whole number from 0 to 3600")
    return int(text)


def _span(text: str) -> tuple[time, time]:
    match = _SPAN.fullmatch(text)
    begin_h, begin_m, end_h, end_m = (int(part) for part in match.groups()) if match else (0, 0, 0, 0)
    begins, ends = time(begin_h, begin_m), time(end_h, end_m)
    if begins == ends:
        raise ValueError("is not a span of the day such as 22:00-07:00")
    return begins, ends


def _zone(text: str) -> ZoneInfo:
    if text not in available_timezones():  # asking ZoneInfo for any text would let it look for files
        raise ValueError("is not a time zone such as Europe/Madrid")
    return ZoneInfo(text)


def _both_ways(found: dict[Pin, PinConfig]) -> dict[Pin, PinConfig]:
    """Return the file with every exclusion said for both pins."""
    complete = dict(found)
    for pin, config in found.items():
        for other in config.limits.exclusive_with:
            theirs = complete.get(other, PinConfig())
            limits = replace(theirs.limits, exclusive_with=theirs.limits.exclusive_with | {pin})
            complete[other] = replace(theirs, limits=limits)
    return complete

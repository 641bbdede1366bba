"""routes.yml: routes, and the devices of other firmware that they and `actuate` may name.

One file for both, because the one names the other: a route to a pin that its
device does not have is a mistake that only a reader of both can tell. Every
mistake is found and told; only a file without any is used. Pure but for reading.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import ContractError
from contract.payloads import bare_number
from contract.topics import Topics
from service.block import Block, Problems, one_of
from service.document import DocumentError, Node, Problem, parse
from webhook.arbiter import ALERT_SLOTS
from webhook.foreign.load import read_devices
from webhook.foreign.model import Device, Pin
from webhook.foreign.values import yes_no
from webhook.routes import Route
from webhook.routes_matchers import Matcher, parse_matchers
from webhook.targets import MAX_TARGETS, Template, parse_template

__all__ = ["RoutesFile", "load_routes", "parse_routes"]

_MAX_FILE_BYTES = 1 << 20
_MAX_ROUTES = 1000
_MAX_MATCHERS = 32


class _Problem(Problem):
    """A mistake in routes.yml."""

    WORD = "route"


@dataclass(frozen=True, slots=True)
class RoutesFile:
    """What the file says.

    Attributes:
        routes: in the order of the file.
        devices: device id -> declaration.
    """

    routes: Sequence[Route] = ()
    devices: Mapping[str, Device] = field(default_factory=dict)


def load_routes(path: Path, topics: Topics) -> RoutesFile:
    """Return what the file says; a file that is not there says nothing.

    Args:
        topics: those of Pinloop, which no declared device may use.

    Raises:
        DocumentError: it cannot be read, or has mistakes: all of them.
    """
    try:
        data = path.read_bytes()
        if len(data) > _MAX_FILE_BYTES:
            raise DocumentError([_Problem(str(path), 0, "", "", f"is longer than {_MAX_FILE_BYTES} bytes")])
        return parse_routes(data.decode("utf-8-sig"), str(path), topics)
    except FileNotFoundError:
        return RoutesFile()
    except OSError as error:
        raise DocumentError([_Problem(str(path), 0, "", "", f"cannot be read ({error.strerror})")]) from None
    except UnicodeError:
        raise DocumentError([_Problem(str(path), 0, "", "", "is not UTF-8")]) from None


def parse_routes(text: str, path: str = "routes.yml", topics: Topics | None = None) -> RoutesFile:
    """Return what `text` says; `path` stands in the messages.

    Raises:
        DocumentError: there are mistakes; it holds all of them.
    """
    problems = Problems(path, _Problem)
    root = parse(text, path)
    block = Block(problems, root, "the file", ("version", "routes", "devices"))
    devices: dict[str, Device] = {}
    routes: list[Route] = []
    if isinstance(root.value, tuple):
        if "version" not in block:
            block.add("version", "is missing: begin the file with 'version: 1'")
        elif block["version"].value != "1":
            block.add("version", f"{block.shown('version')} is not 1")
        if "devices" in block:
            devices = read_devices(problems, block["devices"], topics or Topics())
        if "routes" in block:
            routes = _routes(problems, block["routes"], devices)
    if problems.found:
        raise DocumentError(sorted(problems.found, key=lambda problem: problem.line))
    return RoutesFile(tuple(routes), devices)


def _routes(problems: Problems, node: Node, devices: Mapping[str, Device]) -> list[Route]:
    if not isinstance(node.value, list):
        if node.value:
            problems.add(node.line, "routes", f"is {node.kind}, not a list: begin each route with '- matchers:'")
        return []
    if len(node.value) > _MAX_ROUTES:
        problems.add(node.line, "routes", f"has {len(node.value)} routes, more than {_MAX_ROUTES}")
    try:
        return [_route(problems, one, number, devices) for number, one in enumerate(node.value, 1)]
    finally:
        problems.rule = ""


def _route(problems: Problems, node: Node, number: int, devices: Mapping[str, Device]) -> Route:
    problems.rule = str(number)
    block = Block(problems, node, "a route", ("matchers", "targets", "slot", "continue"))
    if not isinstance(node.value, tuple):
        return Route(number, (), ())
    matchers: list[Matcher] = []
    if "matchers" not in block:
        block.add("matchers", "is missing; [] matches every alert")
    else:
        for item in _listed(block["matchers"]):
            matchers += problems.parsed(item, "matchers", parse_matchers) or []
    if len(matchers) > _MAX_MATCHERS:
        block.add("matchers", f"are {len(matchers)}, more than {_MAX_MATCHERS}")
    slot = block.optional("slot", one_of(ALERT_SLOTS)) or ""
    goes_on = bool(block.optional("continue", yes_no))
    return Route(number, tuple(matchers), tuple(_targets(problems, block, devices)), slot, goes_on)


def _targets(problems: Problems, block: Block, devices: Mapping[str, Device]) -> list[Template]:
    if "targets" not in block:
        block.add("targets", "is missing: say what to do, as [lights/red=1]")
        return []
    items = _listed(block["targets"])
    if not 0 < len(items) <= MAX_TARGETS:
        block.add("targets", f"has {len(items)} targets, not 1 to {MAX_TARGETS}")
    found: list[Template] = []
    for item in items:
        template = problems.parsed(item, "targets", _template)
        if template is None:
            continue
        device = devices.get(template.device)
        if device and "{" not in template.pin and template.pin not in device.pins:
            known = ", ".join(device.pins)
            problems.add(item.line, "targets", f"{item.shown} names a pin that {device.name} has not (it has {known})")
        if device and template.pin in device.pins and _is_beyond(device.pins[template.pin], template.value):
            problems.add(item.line, "targets", f"{item.shown} asks a switch for neither 0 nor 1")
        if any((one.device, one.pin) == (template.device, template.pin) for one in found):
            problems.add(item.line, "targets", f"{item.shown} names the pin {template.device}/{template.pin} again")
        found.append(template)
    return found


def _is_beyond(pin: Pin, value: str) -> bool:
    """Tell whether a pin of other firmware cannot be what a target asks of it; only numbers have a `payload`."""
    return "payload" not in pin.where and "{" not in value and bare_number(value, "targets") not in (0, 1)


def _template(text: str) -> Template:
    try:
        return parse_template(text)
    except ContractError as error:
        raise ValueError(f"{error.rule}; written as device/pin=value, with {{label}} for a label") from None


def _listed(node: Node) -> list[Node]:
    """Return the items of a list; one value stands for a list of one."""
    return node.value if isinstance(node.value, list) else [node]

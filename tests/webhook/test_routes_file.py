"""routes.yml: every mistake with its place, and what a file without any says."""

from pathlib import Path

import pytest

from contract.topics import Topics
from service.document import DocumentError
from webhook.foreign.load import MAX_DEVICES
from webhook.routes_file import RoutesFile, load_routes, parse_routes

GOOD = """
version: 1
devices:
  kettle: {kind: tasmota, topic: kettle, pins: {power: {relay: 2, safe: 1, min_on_s: 5}, fan: }}
  lamp: {kind: zigbee2mqtt, topic: zigbee2mqtt/attic/lamp, user: zigbee2mqtt, pins: {left: {property: state_l1}}}
routes:
  - matchers: ['severity="critical"', 'room=~"a.*"']
    targets: ["{device}/fan=1", kettle/power=0]
    slot: safety
    continue: true
  - matchers: []
    targets: lamp/left=1
"""


def mistakes(text: str) -> list[str]:
    """Return what is wrong with a file, without its name."""
    with pytest.raises(DocumentError) as caught:
        parse_routes(text)
    return [str(one).removeprefix("routes.yml:") for one in caught.value.problems]


def device(declared: str) -> str:
    return f"version: 1\ndevices:\n  d: {{{declared}}}\n"


def test_a_good_file_says_routes_and_devices() -> None:
    """In the order of the file, with defaults where it says nothing."""
    file = parse_routes(GOOD)
    first, second = file.routes
    assert ([str(one) for one in first.matchers], first.slot, first.goes_on) == (
        ['severity="critical"', 'room=~"a.*"'], "safety", True,
    )  # fmt: skip
    assert (second.number, second.matchers, [str(one) for one in second.targets]) == (2, (), ["lamp/left=1"])
    kettle = file.devices["kettle"]
    assert (kettle.pins["power"].safe, kettle.pins["power"].guards) == (1, {"min_on_s": 5})
    assert (kettle.pins["fan"].safe, kettle.pins["fan"].where) == (0, {"relay": "1"})
    assert (kettle.user, file.devices["lamp"].user) == ("kettle", "zigbee2mqtt")


def test_no_file_says_nothing(tmp_path: Path) -> None:
    """Routes are optional."""
    assert load_routes(tmp_path / "routes.yml", Topics()) == RoutesFile()


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Other than one that is not there."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad").write_bytes(b"\xff")
    for name, why in (("folder", "cannot be read"), ("bad", "is not UTF-8")):
        with pytest.raises(DocumentError, match=why):
            load_routes(tmp_path / name, Topics())


def test_the_file_that_is_shipped_is_good_and_does_nothing() -> None:
    """Its examples are comments."""
    shipped = Path(__file__).parents[2] / "webhook" / "routes.yml"
    assert load_routes(shipped, Topics()) == RoutesFile()
    examples = [line.removeprefix("#") for line in shipped.read_text().splitlines() if line.startswith("#  ")]
    text = "version: 1\nroutes:\n" + "\n".join(examples).replace("  kettle:", "devices:\n  kettle:")
    file = parse_routes(text)
    assert (len(file.routes), list(file.devices)) == (2, ["kettle"])


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("{targets: [a/b=1]}", "3: route 1: matchers: is missing; [] matches every alert"),
        ("{matchers: [a=b]}", "3: route 1: targets: is missing: say what to do, as [lights/red=1]"),
        ("{matchers: [a=b], targets: []}", "3: route 1: targets: has 0 targets, not 1 to 64"),
        ("{matchers: [a], targets: [a/b=1]}", "3: route 1: matchers: 'a' is no matcher"),
        ("{matchers: ['a=~\"[\"'], targets: [a/b=1]}", "holds a regular expression that has a [ without its ]"),
        ("{matchers: [a=b], targets: [a/b=1, A/b=1]}", "3: route 1: targets: 'A/b=1' is not a device id"),
        ("{matchers: [a=b], targets: [a/b=1, a/b=0]}", "3: route 1: targets: 'a/b=0' names the pin a/b again"),
        ("{matchers: [a=b], targets: [a/b=on]}", "3: route 1: targets: 'a/b=on' is not a number"),
        ("{matchers: [a=b], targets: [a/b=1], slot: manual}", "3: route 1: slot: 'manual' is not one of safety"),
        ("{matchers: [a=b], targets: [a/b=1], continue: on}", "3: route 1: continue: 'on' is not true or false"),
        ("{matcher: [a=b], targets: [a/b=1]}", "matcher: is not a key of a route (did you mean matchers?)"),
        ("x", "3: route 1: is one value, not a block of keys"),
    ],
)
def test_a_mistake_in_a_route_names_line_route_key_value_and_rule(route: str, expected: str) -> None:
    """So that it can be mended without reading this program."""
    assert any(expected in one for one in mistakes(f"version: 1\nroutes:\n  - {route}\n"))


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("topic: a, pins: {p: }", "devices.d.kind: is missing"),
        ("kind: sonoff, topic: a, pins: {p: }", "devices.d.kind: 'sonoff' is not one of tasmota"),
        ("kind: tasmota, pins: {p: }", "devices.d.topic: is missing"),
        ("kind: tasmota, topic: a/+, pins: {p: }", "devices.d.topic: 'a/+' is not a topic"),
        ("kind: tasmota, topic: $SYS/a, pins: {p: }", "devices.d.topic: '$SYS/a' is not a topic"),
        ("kind: tasmota, topic: a//b, pins: {p: }", "devices.d.topic: 'a//b' is not a topic: every level"),
        ('kind: tasmota, topic: "a\\nb", pins: {p: }', "is not a topic: no + or #, no control"),
        ('kind: tasmota, topic: "a\\uFDD0", pins: {p: }', "is not a topic: no + or #, no control"),
        ("kind: tasmota, topic: " + "/".join("a" * 17) + ", pins: {p: }", "levels"),
        ("kind: tasmota, topic: a", "devices.d.pins: is missing"),
        ("kind: tasmota, topic: a, pins: {}", "devices.d.pins: has 0 pins"),
        ("kind: tasmota, topic: a, pins: {P: }", "devices.d.pins.P: 'P' is not a name"),
        ("kind: tasmota, topic: a, pins: {p: {relay: 33}}", "devices.d.pins.p.relay: '33' is not a whole number"),
        ("kind: tasmota, topic: a, pins: {p: , q: {relay: 1}}", "devices.d.pins.q: is the same as the pin p: '1'"),
        ("kind: tasmota, topic: a, pins: {p: {safe: 2}}", "devices.d.pins.p.safe: '2' is not 0 or 1"),
        ("kind: tasmota, topic: a, pins: {p: {safe: 1, dead_man: true}}", "does not go with safe: 1"),
        ("kind: tasmota, topic: a, pins: {p: {min_on_s: 0}}", "devices.d.pins.p.min_on_s: '0' is not more than 0"),
        ("kind: tasmota, topic: a, user: svc.hub, pins: {p: }", "devices.d.user: 'svc.hub' is not a device's user"),
        ("kind: esphome, topic: a, pins: {p: }", "devices.d.pins.p.entity: is missing"),
        ("kind: esphome, topic: a, pins: {p: {entity: sensor/x}}", "'sensor/x' is not switch, light or fan"),
        ("kind: zigbee2mqtt, topic: a, pins: {p: {property: x}}", "'x' is not state, or state_"),
        ("kind: zigbee2mqtt, topic: a, pins: {p: {property: state_l1, dead_man: true}}", "property 'state' only"),
        ("kind: custom, pins: {p: {on: a}}", "devices.d.pins.p.topic: is missing"),
        ("kind: custom, pins: {p: {topic: pinloop/lights/cmd}}", "'pinloop/lights/cmd', which is Pinloop's own"),
        ("kind: custom, pins: {p: {topic: x, payload: x}}", "payload: 'x' has no {value}"),
        ("kind: custom, topic: a, pins: {p: {topic: x}}", "devices.d.topic: is not a key of a device"),
    ],
)
def test_a_mistake_in_a_device_names_line_key_value_and_rule(declared: str, expected: str) -> None:
    """Also the topics at which a broker hangs up, which it hides, or which are Pinloop's own."""
    found = mistakes(device(declared))
    assert any(expected in one for one in found), found


def test_a_route_to_a_pin_that_a_declared_device_has_not_is_a_mistake() -> None:
    """Why both are in one file."""
    text = GOOD.replace("lamp/left=1", "lamp/right=1")
    assert mistakes(text) == ["12: route 2: targets: 'lamp/right=1' names a pin that lamp has not (it has left)"]


def test_a_route_that_asks_a_switch_for_more_than_on_is_a_mistake() -> None:
    """It would be on, and never be what it was told; a pin with a `payload` takes numbers."""
    text = GOOD.replace("lamp/left=1", "lamp/left=3")
    assert mistakes(text) == ["12: route 2: targets: 'lamp/left=3' asks a switch for neither 0 nor 1"]
    fan = "{kind: custom, pins: {speed: {topic: fan/set, payload: '{value}'}}}"
    parse_routes(f"version: 1\nroutes:\n  - {{matchers: [], targets: [fan/speed=30]}}\ndevices:\n  fan: {fan}\n")


def test_two_devices_cannot_be_told_the_same() -> None:
    """Two names of one relay would fight."""
    two = "version: 1\ndevices:\n" + "".join(f"  {one}: {{kind: tasmota, topic: a, pins: {{p: }}}}\n" for one in "de")
    assert mistakes(two) == ["4: devices.e: writes to 'cmnd/a/POWER1', as d does"]


def test_the_number_of_devices_has_a_bound() -> None:
    """One packet must hold all subscriptions."""
    many = "".join(f"  d{one}: {{kind: tasmota, topic: t{one}, pins: {{p: }}}}\n" for one in range(MAX_DEVICES + 1))
    assert "more than" in mistakes("version: 1\ndevices:\n" + many)[0]


def test_every_mistake_is_told_at_once() -> None:
    """Not one with each try."""
    assert len(mistakes("version: 2\nroutes: [{}, {}]\ndevices: {A: }\nother: 1\n")) == 7

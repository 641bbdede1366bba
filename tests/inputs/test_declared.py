"""inputs.toml: what is declared, and every mistake told by table, key, value and rule."""

from pathlib import Path

import pytest

from inputs import load
from inputs.declared import FIRMWARE, parse
from inputs.topics import TopicPattern
from listener.polling import targets
from pinloop.broker_files import acl_text
from service.errors import SettingsError

SAMPLE = Path(__file__).parents[2] / "listener" / "inputs.toml"


def test_the_shipped_file_understands_every_firmware_that_needs_no_address() -> None:
    """Tasmota and the others work without anybody writing a line."""
    assert {one.name for one in load(SAMPLE).inputs} == set(FIRMWARE) - {"espnet"}
    assert load(Path()).inputs == []


def test_what_is_commented_in_the_shipped_file_is_good_too() -> None:
    """Its examples, taken as they stand, are a file of their own."""
    text = SAMPLE.read_text().replace("\n# ", "\n").replace('token_sha256 = "..."', f'token_sha256 = "{"a" * 64}"')
    known = parse(text)
    assert {one.name for one in known.inputs} == {*FIRMWARE, "custom", "numbers", "gateways"}
    assert [target.url for target in targets(known)] == [
        "http://10.36.158.33/ISEMS/ffopenmppt.log",
        "http://192.168.1.40/",
    ]


TOKEN = "0" * 64


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[tasmota", "f.toml: is not TOML"),
        ("version = 2", "f.toml: version: must be 1"),
        ("[tasmotta]", r"tasmotta: is no input \(did you mean tasmota\?\)"),
        ("[mystery]", "mystery: is no input; there are: tasmota, "),
        ("tasmota = 1", "f.toml: tasmota: 1 is not a table"),
        ('[tasmota]\ntelee = "x"', r"f.toml: tasmota: telee: is not a key of it \(did you mean tele\?\)"),
        ('[tasmota]\ntele = "a/#"', "tasmota: tele: 'a/#' is not a topic without"),
        ("[tasmota]\nenabled = 1", "tasmota: enabled: 1 is not true or false"),
        ('[tasmota]\ntimezone = "Mars/Base"', "timezone: 'Mars/Base' is not a time zone"),
        ('[esphome]\nprefixes = "x"', "prefixes: 'x' is not a list"),
        ('[esphome]\nprefixes = ["a+b"]', "has a wildcard that is not a whole level"),
        ("[isems]\npoll_every_s = 1", "poll_every_s: 1 is not from 10 to 86400"),
        ('[isems]\ntopic = "#/x"', "topic: '#/x' has a # before its end"),
        ('[espnet]\n[espnet.devices]\nPorch = "x"', "devices: 'Porch' is not a device id"),
        ("[espnet]\n[espnet.devices]\nporch = {id = 'x'}", "devices: porch: address: None is missing"),
        ('[numbers]\n"/pot" = "pot"', "numbers: /pot: '' is not a sensor's name"),
        ('[numbers]\n"/pot" = "seed/time"', "'time' is not a sensor's name"),
        ('[numbers]\n"/+" = "seed/pot"', "its topic has wildcards"),
        ("[custom]\ntopic = 1", r"custom: is a list of tables: each begins with \[\[custom\]\]"),
        ('[[custom]]\ndevice = "x"', "custom 1: topic: None is missing"),
        ('[[custom]]\ntopic = "#"\ndevice = "x"', "topic: '#' matches every topic"),
        ('[[custom]]\ntopic = "a/+"\ndevice = "{2}"', r"device: '\{2\}' has \{2\}, and the topic 1 wildcards"),
        ('[[custom]]\ntopic = "a"\ndevice = "A"', "device: 'A' is not a device id"),
        ('[[custom]]\ntopic = "a"\ndevice = "a{x}"', "has braces that are not"),
        ('[[custom]]\ntopic = "a"\ndevice = "a"\nvalues = {n = "x"}', "values: 'n' is not a sensor's name"),
        ('[[custom]]\ntopic = "a"\ndevice = "a"\nvalues = {x = "a..b"}', "path: 'a..b' is not a path"),
        ('[[custom]]\ntopic = "a"\ndevice = "a"\nvalues = {x = {path = "a", unit = "ft"}}', "unit: 'ft' is not one of"),
        ('[[custom]]\ntopic = "a"\ndevice = "a"\nscale = 2', "scale: 2 belongs to `sensor`"),
        ('[[custom]]\ntopic = "a"\ndevice = "a"\nsensor = "x"\nvalues = {y = "y"}', "and `values` exclude one another"),
        ('[[custom]]\ntopic = "a"\ndevice = "a"\nsensor = "x"\nwords = {up = "high"}', "up: 'high' is not a number"),
        ('[devices]\n"a" = "A"', "devices: a: 'A' is not a device id"),
        ("[gateways.roof]", "gateways: roof: token_sha256: None is missing"),
        ('[gateways.roof]\ntoken_sha256 = "x"', "token_sha256: 'x' is not 64 hexadecimal digits"),
        (f'[gateways.a]\ntoken_sha256 = "{TOKEN}"\n[gateways.b]\ntoken_sha256 = "{TOKEN}"', "of another gateway"),
        (f'[gateways.a]\ntoken_sha256 = "{TOKEN}"\ndevices = ["x y", "x-y"]', "are both the device 'x-y'"),
        (f'[gateways.a]\ntoken_sha256 = "{TOKEN}"\ndevices = ["***"]', "has no letter or digit"),
    ],
)  # fmt: skip
def test_a_mistake_is_told(text: str, rule: str) -> None:
    """Before anything is connected."""
    with pytest.raises(SettingsError, match=rule):
        parse(text, "f.toml")


@pytest.mark.parametrize("address", ["http://x", "x/y", "a b", "x:99999", "x:y", "user@x"])
def test_an_address_to_ask_is_a_host(address: str) -> None:
    """Nothing that changes what is asked."""
    with pytest.raises(SettingsError, match="isems: nodes: .* is not HOST or HOST:PORT"):
        targets(parse(f'[isems]\nnodes = ["{address}"]'))


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    """With the setting that named it."""
    with pytest.raises(SettingsError, match="inputs_path: .*none.toml.* cannot be read"):
        load(tmp_path / "none.toml")


def test_the_first_input_whose_filter_matches_has_a_topic() -> None:
    """The file's own mappings before any firmware; $-topics are nobody's."""
    known = parse('[tasmota]\n[homie]\n[[custom]]\ntopic = "tele/+/SENSOR"\ndevice = "{1}"')
    assert getattr(known.find("tele/x/SENSOR"), "name", "") == "custom"
    assert getattr(known.find("tele/x/STATE"), "name", "") == "tasmota"
    assert known.find("elsewhere") is None
    assert known.find("$SYS/homie") is None


@pytest.mark.parametrize(
    ("text", "topic", "expected"),
    [
        ("a/+/c", "a/b/c", ("b",)),
        ("a/#", "a/b/c", ("b/c",)),
        ("a/+", "a/b/c", None),
        ("a.c", "abc", None),
        ("a", "a", ()),
    ],
)
def test_a_filter_tells_what_its_wildcards_stand_for(text: str, topic: str, expected: tuple[str, ...] | None) -> None:
    """As MQTT matches."""
    assert TopicPattern(text).match(topic) == expected


def test_the_brokers_rights_follow_from_the_file() -> None:
    """Listener and rules hear what is declared; a device may write what its mapping says, and only under its name."""
    text = acl_text(inputs=parse('[tasmota]\n[zigbee2mqtt]\n[numbers]\n"/pot" = "seed/pot"\n'
                                 '[[custom]]\ntopic = "garden/+/weather"\ndevice = "{1}"'))  # fmt: skip
    blocks = {block.splitlines()[0]: block for block in text.split("\n\n")}
    for user in ("svc.listener", "svc.rules"):
        assert "topic read tele/+/SENSOR" in blocks[f"user {user}"]
        assert "topic read /pot" in blocks[f"user {user}"]
    assert "tele" not in blocks["user svc.webhook"]
    assert "user zigbee2mqtt\ntopic readwrite zigbee2mqtt/#" in text
    assert "user seed\ntopic write /pot" in text
    assert "pattern write garden/%u/weather" in text
    assert "pattern write tele/%u/#" in text

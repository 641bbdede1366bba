"""Names of devices that would give them the rights of others: refused before anybody signs in with them."""

from pathlib import Path

import pytest

from contract.errors import TopicError
from inputs.declared import parse
from pinloop.broker_files import check_users
from pinloop.errors import PinloopError
from pinloop.local.layout import Layout, Ports
from pinloop.local.prepare import prepare
from pinloop.setup import Secrets
from webhook.routes_file import parse_routes

ROUTES = """
version: 1
devices:
  kettle: {kind: tasmota, topic: kettle, user: tasmota-1, pins: {power: }}
  heat: {kind: esphome, topic: heating, user: boiler, pins: {power: {entity: switch/relay}}}
"""
DEVICES = list(parse_routes(ROUTES).devices.values())


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ("[homie]", "5"),
        ("[esphome]", "pinloop"),
        ("[esphome]", "heating"),
        ("[esphome]", "cmnd"),
        ("[esphome]\n[homie]", "homie"),
        ("[esphome]\n[tasmota]", "tele"),
        ("[shelly2]\n[shelly1]", "shellies"),
        ("[shelly2]\n[zigbee2mqtt]\nuser = 'bridge'", "zigbee2mqtt"),
    ],
)
def test_a_name_that_reaches_what_is_not_its_own_is_refused(inputs: str, name: str) -> None:
    """The message names the device, the right and the topic."""
    with pytest.raises(TopicError, match=rf"device: '{name}' would by '.*%u.*' have rights at '.*{name}"):
        check_users(["pot", name], inputs=parse(inputs), devices=DEVICES)


def test_a_name_that_reaches_only_its_own_is_none_of_these() -> None:
    """Without such inputs nothing is reserved; and who signs in as itself may be called like its topic."""
    names = ["pot", "5", "pinloop", "homie", "tele", "heating"]
    check_users(names, devices=DEVICES)
    check_users(names, inputs=parse("[tasmota]"), devices=DEVICES)
    check_users(["boiler", "pot"], inputs=parse("[esphome]\n[shelly2]\n[homie]"), devices=DEVICES)
    own = parse_routes(ROUTES.replace("boiler", "heating")).devices.values()
    check_users(["heating"], inputs=parse("[esphome]"), devices=own)


def test_setup_makes_no_user_of_such_a_name(tmp_path: Path) -> None:
    """And says so of one that is there from before the input was declared."""
    Secrets(tmp_path).prepare()
    secrets = Secrets(tmp_path, inputs=parse("[homie]"))
    with pytest.raises(TopicError, match="device: '5' would"):
        secrets.add_device("5")
    secrets.prepare()
    Secrets(tmp_path).add_device("5")
    with pytest.raises(TopicError, match="device: '5' would"):
        secrets.prepare()


def test_local_mode_makes_no_user_of_such_a_name(tmp_path: Path) -> None:
    """Nothing of it is left for the next start."""
    layout = Layout(tmp_path, tmp_path / "rules.yml")
    layout.inputs.write_text("[homie]\n")
    with pytest.raises(PinloopError, match="device: '5' would"):
        prepare(layout, Ports(), "127.0.0.1", ["5"], 20.0, embedded=True)
    prepare(layout, Ports(), "127.0.0.1", ["pump"], 20.0, embedded=True)

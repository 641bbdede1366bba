"""Before anything starts: one instance per folder, free ports, a folder that can be used."""

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from pinloop.cli import main
from pinloop.errors import PinloopError
from pinloop.local.instance import check_ports, describe, locked
from pinloop.local.layout import Layout, Ports
from pinloop.local.parts import loop_parts
from pinloop.local.prepare import prepare
from tests.support.ports import free_port


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "data", tmp_path / "rules.yml")


def free_ports() -> Ports:
    return Ports(*(free_port() for _ in range(5)))


def test_a_second_instance_on_the_same_folder_is_refused(layout: Layout):
    """It names the folder, the process and what to do."""
    with locked(layout), pytest.raises(PinloopError, match="already runs on") as caught, locked(layout):
        pass
    assert "choose another --data-dir" in caught.value.hint


def test_the_folder_is_free_again_after_the_end(layout: Layout):
    """Also `running.json` is gone, so that no command looks for a dead instance."""
    with locked(layout):
        describe(layout, Ports())
        assert json.loads(layout.running.read_text())["hub_url"] == "http://127.0.0.1:8080"
    assert not layout.running.exists()
    with locked(layout):
        pass


def test_a_missing_parent_folder_is_one_clear_line(tmp_path: Path):
    """Only the last level is made: a typing mistake must not make a tree."""
    with (
        pytest.raises(PinloopError, match=f"there is no folder '{tmp_path}/typo'"),
        locked(Layout(tmp_path / "typo" / "data", tmp_path)),
    ):
        pass


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path):
    """The message names the path."""
    (tmp_path / "data").write_text("")
    with pytest.raises(PinloopError, match="cannot be used"), locked(Layout(tmp_path / "data", tmp_path)):
        pass


def test_a_taken_port_is_named_with_the_option_that_moves_it():
    """Nothing has been started by then."""
    ports = free_ports()
    taken = pytest.raises(PinloopError, match=f"port {ports.webhook} is taken")
    with socket.create_server(("127.0.0.1", ports.webhook)), taken as caught:
        check_ports(ports, "127.0.0.1", "127.0.0.1")
    assert "--webhook-port" in caught.value.hint


@pytest.mark.parametrize("option", ["--bind", "--webhook-bind"])
def test_one_address_of_several_is_refused_before_anything_starts(option: str, tmp_path: Path):
    """The parts reach one another at 127.0.0.1: the broker was waited for there, and its log blamed."""
    said = CliRunner().invoke(main, ["up", option, "192.0.2.2", "--data-dir", str(tmp_path / "data")])
    assert said.exit_code == 2
    assert "'192.0.2.2' is not one of '127.0.0.1', '0.0.0.0'" in said.output
    assert not (tmp_path / "data").exists()


def test_only_the_webhook_is_opened_to_senders_elsewhere(tmp_path: Path):
    """The broker and the console have an option of their own."""
    everywhere = "0.0.0.0"  # noqa: S104
    parts = loop_parts(Layout(tmp_path, tmp_path / "rules.yml"), free_ports(), "127.0.0.1", everywhere, None)
    assert [part.name for part in parts if part.address.startswith(everywhere)] == ["webhook"]
    (webhook,) = (part for part in parts if part.name == "webhook")
    assert webhook.env["PINLOOP_WEBHOOK_HTTP_HOST"] == everywhere
    assert webhook.ready_url.startswith("http://127.0.0.1:")


def test_an_address_that_is_not_ours_is_refused():
    """Before anything starts."""
    with pytest.raises(PinloopError, match="cannot listen on 192.0.2.1"):
        check_ports(free_ports(), "192.0.2.1", "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rules.yml", "version: 1\nrules:\n  - name: x\n    wen: pot > 3\n", "wen"),
        ("pins.yml", "version: 1\npins:\n  lights/red: {min_of_s: 3}\n", "min_of_s"),
        ("routes.yml", "version: 1\ndevices:\n  plug: {kind: tasmotta}\n", "tasmotta"),
        ("inputs.toml", "[tasmotta]\n", "tasmotta"),
    ],
)
def test_a_mistake_in_a_file_is_told_before_anything_starts(tmp_path: Path, name: str, text: str, said: str):
    """With what to do; its service would only start and end again and again."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text(text)
    layout = Layout(tmp_path / "data", tmp_path / "data" / "rules.yml")
    with pytest.raises(PinloopError, match=said) as caught:
        prepare(layout, free_ports(), "127.0.0.1", (), 60, embedded=False)
    assert "Mend it" in caught.value.hint

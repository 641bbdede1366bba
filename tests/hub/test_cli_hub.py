"""`pinloop device`, `pin` and `rules` against a running hub."""

import json
import re
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pinloop.cli import main
from tests.hub.running import PASSWORD, Board, RunningHub
from tests.support.wait import until

RULES = Path(__file__).resolve().parents[2] / "rules" / "sample.yml"


@pytest.fixture(autouse=True)
def _no_hub_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own environment reaches a test."""
    for name in ("PINLOOP_URL", "PINLOOP_PASSWORD", "PINLOOP_PASSWORD_FILE", "PINLOOP_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


def run(*words: str, env: dict[str, str] | None = None) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, words, env=env)


def here(hub: RunningHub) -> dict[str, str]:
    """Return the environment that names the running hub."""
    return {"PINLOOP_URL": hub.url, "PINLOOP_PASSWORD": PASSWORD}


def test_devices_are_listed_plain_in_a_pipe_and_as_one_object_with_json(hub: RunningHub, pot: Board) -> None:
    """Tabs without a heading for other programs."""
    pot.send("reading/pot", "61.5")
    until(lambda: "pot 61.5 % (" in run("device", "list", env=here(hub)).stdout)
    line = next(one for one in run("device", "list", env=here(hub)).stdout.splitlines() if one.startswith("pot\t"))
    assert line.split("\t")[1] == "online"
    assert json.loads(run("device", "list", "--json", env=here(hub)).stdout)["devices"]
    shown = run("device", "show", "pot", env=here(hub)).stdout
    assert "chip\tesp32" in shown
    assert re.search(r"^rssi\t-\d+ dBm$", shown, re.MULTILINE)


def test_a_pin_is_set_explained_and_released(hub: RunningHub, lights: Board) -> None:
    """The whole life of a manual claim from the command line."""
    until(lambda: run("pin", "why", "lights/red", env=here(hub)).exit_code == 0)
    result = run("pin", "set", "lights/red", "1", "--for", "90s", "--by", "anna", env=here(hub))
    assert (result.exit_code, "lights/red: 1 wanted by anna (manual)" in result.stdout) == (0, True)
    assert "the device has not confirmed it yet" in result.stdout
    lights.obey("red", 1)
    until(lambda: "lights/red\t1\t1\tmanual\tanna\t-" in run("pin", "list", env=here(hub)).stdout)
    assert "anna" in run("pin", "why", "lights/red", env=here(hub)).stdout

    def logged() -> list[tuple[str, str]]:
        lines = run("pin", "log", "--json", env=here(hub)).stdout.splitlines()
        return [(one["pin"], one["source"]) for one in map(json.loads, lines) if one["reported_at_s"]]

    until(lambda: logged() == [("red", "anna")])
    assert "set by anna" in run("pin", "log", "lights/red", "--since", "1h", env=here(hub)).stdout
    assert run("pin", "log", "lights/green", env=here(hub)).stdout == ""
    result = run("pin", "release", "lights/red", "--by", "bob & co", "--json", env=here(hub))
    assert json.loads(result.stdout)["desired"] is None
    assert "withdrawn by bob & co" in run("pin", "why", "lights/red", env=here(hub)).stdout


def test_setting_a_pin_waits_for_the_devices_word(hub: RunningHub, lights: Board) -> None:
    """What is printed is what the device reported, not what it was before."""
    until(lambda: run("pin", "why", "lights/red", env=here(hub)).exit_code == 0)
    device = threading.Thread(target=lights.obey, args=("red", 1))
    device.start()
    result = run("pin", "set", "lights/red", "on", env=here(hub))
    device.join()
    assert re.fullmatch(r"lights/red: 1 wanted by cli \(manual\) until \S+ \S+; reported 1\n", result.stdout)


def test_the_local_instance_is_found_by_its_data_folder(hub: RunningHub, tmp_path: Path) -> None:
    """running.json names the hub and the file with its password."""
    (tmp_path / "console.password").write_text(PASSWORD + "\n")
    facts = {"pid": 1, "hub_url": hub.url, "console_password_file": str(tmp_path / "console.password")}
    (tmp_path / "running.json").write_text(json.dumps(facts))
    assert run("pin", "list", "--data-dir", str(tmp_path)).exit_code == 0
    assert run("pin", "list", env={"PINLOOP_DATA_DIR": str(tmp_path)}).exit_code == 0


def test_the_password_may_be_in_a_file(hub: RunningHub, tmp_path: Path) -> None:
    """PINLOOP_PASSWORD_FILE, and a clear word when it cannot be read."""
    (tmp_path / "password").write_text(PASSWORD)
    env = {"PINLOOP_URL": hub.url, "PINLOOP_PASSWORD_FILE": str(tmp_path / "password")}
    assert run("device", "list", env=env).exit_code == 0
    result = run("device", "list", env={**env, "PINLOOP_PASSWORD_FILE": str(tmp_path / "none")})
    assert (result.exit_code, "cannot be read" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("device", "show", "nobody"), 1, "was never heard of"),
        (("pin", "set", "nobody/red", "1"), 1, "nobody"),
        (("pin", "set", "lights", "1"), 2, "lights/red"),
        (("pin", "set", "lights/red", "onn"), 2, "neither a number nor on or off"),
        (("pin", "list", "--url", "console"), 2, "is not an address"),
        (("pin", "list", "--url", "http://127.0.0.1:9"), 1, "does not answer"),
        (("pin", "log", "--since", "yesterday"), 2, "30m"),
        (("pin", "fly"), 2, "fly"),
    ],
)
def test_errors_go_to_stderr_with_an_exit_code(hub: RunningHub, words: tuple[str, ...], code: int, text: str) -> None:
    """1: failed, 2: wrong usage; nothing on stdout."""
    result = run(*words, env=here(hub))
    assert (result.exit_code, result.stdout) == (code, "")
    assert text in result.stderr


def test_a_wrong_password_and_a_missing_instance_say_what_to_do(hub: RunningHub, tmp_path: Path) -> None:
    """What happened, then what to do."""
    result = run("pin", "list", env={"PINLOOP_URL": hub.url, "PINLOOP_PASSWORD": "wrong"})
    assert (result.exit_code, "PINLOOP_PASSWORD" in result.stderr) == (1, True)
    result = run("pin", "list", "--data-dir", str(tmp_path))
    assert (result.exit_code, "pinloop up" in result.stderr) == (1, True)


def test_rules_are_checked_without_a_hub(tmp_path: Path) -> None:
    """0 and the rules, or 1 and every mistake."""
    result = run("rules", "check", str(RULES))
    assert (result.exit_code, result.stdout.split("\t")[0]) == (0, "too-bright")
    bad = tmp_path / "rules.yml"
    bad.write_text("version: 1\nrules:\n  - name: a\n    when: pot >> 80\n    then: [lights/red = 1]\n")
    result = run("rules", "check", str(bad))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "rules.yml:" in result.stderr
    result = run("rules", "check", "--data-dir", str(tmp_path), "--json")
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (1, False)


def test_a_pin_that_its_device_has_no_more_is_marked_and_forgotten(hub: RunningHub, tmp_path: Path) -> None:
    """Not while it is declared or claimed, and not without the device's own password."""
    old = Board(hub.broker, "old", {"sensors": {}, "pins": {"fan": {}}})
    old.send("pin/fan/state", {"v": 1, "seq": 3, "why": "command"}, retain=True)
    folder = ("--data-dir", str(tmp_path))

    def forget() -> Result:
        return run("pin", "forget", "old/fan", *folder, env=here(hub))

    until(lambda: "old/fan" in run("pin", "list", env=here(hub)).stdout)
    assert "its device declares it" in forget().output
    old.send("info", {"sensors": {}, "pins": {}}, retain=True)
    until(lambda: "declares it no more" in run("pin", "list", env=here(hub)).stdout)
    assert "mosquitto_pub -u old -P PASSWORD -q 1 -r -n -t pinloop/old/pin/fan/state" in forget().output
    run("pin", "set", "old/fan", "1", env=here(hub))
    assert "cli (manual) asks for it" in forget().output
    run("pin", "release", "old/fan", env=here(hub))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "old.password").write_text("x\n")
    (tmp_path / "running.json").write_text(json.dumps({"mqtt": {"host": hub.broker.host, "port": hub.broker.port}}))
    assert forget().output == "old/fan: forgotten\n"
    assert "old/fan" not in run("pin", "list", env=here(hub)).stdout
    assert "there is no pin" in forget().output
    old.client.close()


def test_a_device_that_is_no_more_is_forgotten_with_its_pins(hub: RunningHub, tmp_path: Path) -> None:
    """Not while it is there; afterwards neither list knows it, and the doctor does not miss it."""
    gone = Board(hub.broker, "gone", {"sensors": {}, "pins": {"fan": {}}})
    gone.send("pin/fan/state", {"v": 0, "seq": 3, "why": "released"}, retain=True)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "gone.password").write_text("x\n")
    (tmp_path / "running.json").write_text(json.dumps({"mqtt": {"host": hub.broker.host, "port": hub.broker.port}}))

    def forget() -> Result:
        return run("device", "forget", "gone", "--data-dir", str(tmp_path), env=here(hub))

    until(lambda: "gone/fan" in run("pin", "list", env=here(hub)).stdout)
    assert "gone is online, so it would come back" in forget().output
    gone.send("status", "offline", retain=True)
    until(lambda: "gone\toffline" in run("device", "list", env=here(hub)).stdout)
    assert forget().output == "gone: forgotten\n"
    assert "gone" not in run("device", "list", env=here(hub)).stdout + run("pin", "list", env=here(hub)).stdout
    assert "there is no device" in forget().output
    gone.client.close()


def test_a_device_that_is_away_is_not_shown_as_if_it_were_there(hub: RunningHub, lights: Board) -> None:
    """`was 1` is no number for a program, and `why` says since when."""
    lights.send("pin/green/state", {"v": 1, "seq": 3, "why": "local"}, retain=True)
    until(lambda: "lights/green\t-\t1\t" in run("pin", "list", env=here(hub)).stdout)
    lights.send("status", "offline", retain=True)
    until(lambda: "lights/green\t-\twas 1\t" in run("pin", "list", env=here(hub)).stdout)
    said = run("pin", "why", "lights/green", env=here(hub)).stdout
    assert re.search(
        r"^offline \(\d s ago\): thought to be 1 until \d\d:\d\d:\d\d \S+ at the latest", said, re.MULTILINE
    )

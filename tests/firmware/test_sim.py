"""The computer that stands in for a board: interpreters, the fetched MicroPython, device folders, the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contract.errors import ContractError
from firmware.sim import create_device, engine, fetch_micropython
from firmware.sim.__main__ import main
from firmware.sim.device import PROFILES
from firmware.sim.fetch_micropython import FetchError, fetch, launcher


def fake(folder: Path) -> Path:
    """Make something that looks like unpacked packages."""
    for name in ("usr/bin/micropython", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch(mode=0o755)
    return folder


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without MicroPython; returns the cache folder that `make micropython` would fill."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(engine, "cache_folder", lambda: cache)
    monkeypatch.setattr(engine, "_USER_CACHE", tmp_path / "user")
    return cache


def test_the_named_interpreter_comes_first(bare: Path, tmp_path: Path) -> None:
    """$MICROPYTHON, which may be a command with words; then PATH; then the cache; then CPython."""
    fake(bare)
    on_path = tmp_path / "bin" / "micropython"
    on_path.parent.mkdir()
    on_path.touch(mode=0o755)
    environ = {"PATH": str(on_path.parent), "MICROPYTHON": f"{sys.executable} -X heapsize=64k"}
    assert engine.find("auto", environ).argv == [sys.executable, "-X", "heapsize=64k"]
    del environ["MICROPYTHON"]
    assert engine.find("auto", environ).argv == [str(on_path)]
    assert engine.find("auto", {"PATH": ""}).argv[-1] == str(bare / "usr/bin/micropython")
    assert engine.find("cpython", environ).argv == [sys.executable]


def test_without_micropython_it_is_cpython_unless_it_must_not_be(bare: Path) -> None:
    """`auto` falls back; `micropython` says how to get it; a wrong $MICROPYTHON is never passed over."""
    assert engine.find("auto", {"PATH": ""}).name == "cpython"
    with pytest.raises(engine.EngineError, match="make micropython"):
        engine.find("micropython", {"PATH": ""})
    with pytest.raises(engine.EngineError, match="'/no/such' is not a program"):
        engine.find("auto", {"MICROPYTHON": "/no/such"})


def test_a_second_fetch_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """What is there stays; no tool is started but the interpreter itself."""
    fake(tmp_path)
    monkeypatch.setattr(fetch_micropython, "_version", lambda command: "MicroPython 1.25.0")
    assert fetch(tmp_path) == launcher(tmp_path)
    assert "already in" in capsys.readouterr().out
    fetch(tmp_path, quiet=True)
    assert capsys.readouterr().out == ""


def test_without_apt_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fedora, macOS..."""
    monkeypatch.setattr(fetch_micropython.shutil, "which", lambda tool: None)
    with pytest.raises(FetchError, match=r"apt-get is not here; .* set MICROPYTHON"):
        fetch(tmp_path / "new")


def test_without_a_debian_mirror_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ubuntu's own archive has other packages; nothing is left behind in the cache."""
    monkeypatch.setattr(fetch_micropython.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(fetch_micropython, "_run", lambda words, folder: "http://mirror.example/ubuntu/ noble\n")
    with pytest.raises(FetchError, match="no Debian mirror"):
        fetch(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_is_one_line(tmp_path: Path) -> None:
    """What apt said last, behind the command that failed."""
    with pytest.raises(FetchError, match="`sh .*` failed: no such mirror"):
        fetch_micropython._run(["sh", "-c", "echo no such mirror >&2; exit 3"], tmp_path)


@pytest.mark.parametrize("profile", sorted(path.stem for path in PROFILES.glob("*.json")))
def test_each_profile_makes_a_device(tmp_path: Path, profile: str) -> None:
    """Its configuration is whole, readable by its owner only, and keeps pins that are there."""
    create_device(tmp_path, "dev-1", profile, {"host": "h", "password": "secret"})
    config = json.loads((tmp_path / "device.json").read_text())
    assert config["device"] == "dev-1"
    assert config["mqtt"]["password"] == "secret"
    assert (tmp_path / "device.json").stat().st_mode & 0o077 == 0
    assert bool(config.get("sensors")) == (tmp_path / "adc32").exists()
    (tmp_path / "adc32").write_text("5")
    create_device(tmp_path, "dev-1", profile, {"host": "h"})
    assert (tmp_path / "adc32").read_text() == "5"


@pytest.mark.parametrize(
    ("device", "profile", "prefix"),
    [("Dev", "pot", "p"), ("../x", "pot", "p"), ("d", "kettle", "p"), ("d", "pot", "#")],
)
def test_a_bad_device_is_not_made(tmp_path: Path, device: str, profile: str, prefix: str) -> None:
    """Id, profile and prefix are checked before anything is written."""
    with pytest.raises((ContractError, ValueError)):
        create_device(tmp_path / "new", device, profile, {"host": "h", "prefix": prefix})
    assert not (tmp_path / "new").exists()


def test_the_command_line_makes_a_device(tmp_path: Path) -> None:
    """Every option reaches the configuration; the password comes from a file."""
    (tmp_path / "secret").write_text("pass\n")
    words = "--device d1 --profile lights --mqtt-host h --mqtt-port 1884 --mqtt-user u --prefix home/x"
    argv = ["create", str(tmp_path / "d1"), *words.split(), "--mqtt-password-file", str(tmp_path / "secret")]
    assert main(argv) == 0
    config = json.loads((tmp_path / "d1" / "device.json").read_text())
    assert config["mqtt"] == {"host": "h", "port": 1884, "user": "u", "prefix": "home/x", "password": "pass"}


@pytest.mark.parametrize("words", ["run .", "create ./d --device D --profile pot", "create ./d --device d --profile x"])
def test_a_mistake_is_one_line_and_exit_1(words: str, tmp_path: Path, monkeypatch, capsys) -> None:
    """No traceback for a folder that is none, an id or a profile outside the list."""
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith("firmware.sim: ")
    assert error.count("\n") == 1


def test_the_program_runs_as_a_module() -> None:
    """`python -m firmware.sim --help` names both actions."""
    done = subprocess.run([sys.executable, "-m", "firmware.sim", "--help"], capture_output=True, text=True, check=True)
    assert "create" in done.stdout
    assert "run" in done.stdout

"""Setup: every secret once, each copy only for who needs it."""

import os
import stat
from pathlib import Path

import pytest

from pinloop import setup
from pinloop.secrets import is_mosquitto_password
from pinloop.setup import SECRETS, UIDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the secrets go; not made yet."""
    return tmp_path / "secrets"


def run(folder: Path, *words: str) -> int:
    """Run setup as the container does."""
    return setup.main(["--folder", str(folder), *words])


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return path -> content, time of change and inode of every file."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
        for path in files
    }


def test_a_second_run_changes_nothing(folder: Path) -> None:
    """Not one file is written again."""
    assert run(folder) == 0
    first = snapshot(folder)

    assert run(folder) == 0

    assert snapshot(folder) == first


def test_every_holder_gets_its_copy_and_nobody_else(folder: Path) -> None:
    """Readable by its user only; the originals only by the owner of the stack."""
    run(folder)

    for secret in SECRETS:
        original = (folder / "owner" / secret.name).read_text()
        copies = {path.parent.name: path for path in folder.glob(f"*/{secret.name}") if path.parent.name != "owner"}
        assert set(copies) == set(secret.holders)
        assert {path.read_text() for path in copies.values()} == {original}
        assert len(original.strip()) == secret.chars
    for path in folder.rglob("*"):
        if path.is_file() and path.name != ".lock":
            mode = {"owner": 0o600, "public": 0o444}.get(path.relative_to(folder).parts[0], 0o400)
            assert stat.S_IMODE(path.stat().st_mode) == mode
    assert {stat.S_IMODE((folder / holder).stat().st_mode) for holder in ("owner", *UIDS)} == {0o700}


def test_every_secret_differs(folder: Path) -> None:
    """No password opens two doors."""
    run(folder)

    values = [path.read_text() for path in (folder / "owner").rglob("*") if path.is_file() and path.name != ".lock"]

    assert len(values) == len(set(values)) > len(SECRETS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_each_service_its_files(folder: Path) -> None:
    """Group as well: mosquitto complains about another one."""
    run(folder)

    for holder, uid in UIDS.items():
        for path in (folder / holder, *(folder / holder).iterdir()):
            assert (path.stat().st_uid, path.stat().st_gid) == (uid, uid)


def test_a_lost_or_damaged_copy_comes_back_from_the_original(folder: Path) -> None:
    """A restored volume may have lost some."""
    run(folder)
    first = snapshot(folder)
    (folder / "hub" / "console_password").unlink()
    (folder / "mosquitto" / "acl").unlink()
    (folder / "mosquitto" / "acl").write_text("user nobody\n")

    run(folder)

    assert {path: content for path, (content, *_) in snapshot(folder).items()} == {
        path: content for path, (content, *_) in first.items()
    }


def test_a_password_that_the_owner_put_there_is_kept_and_handed_out(folder: Path) -> None:
    """The broker's users follow."""
    run(folder)
    (folder / "owner" / "mqtt_hub").write_text("chosen-by-me\n")

    run(folder)

    assert (folder / "hub" / "mqtt_hub").read_text() == "chosen-by-me\n"
    line = next(line for line in (folder / "mosquitto" / "passwd").read_text().splitlines() if "svc.hub:" in line)
    assert is_mosquitto_password(line, "chosen-by-me")


@pytest.mark.parametrize("bad", ["short", "with$dollar", "two words here"])
def test_a_password_that_would_break_something_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    """One line that names the file and the rule, not the password."""
    run(folder)
    (folder / "owner" / "alert_password").write_text(bad)
    capsys.readouterr()

    assert run(folder) == 1

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "owner/alert_password" in said
    assert bad not in said


def test_a_device_gets_an_account_and_the_others_keep_theirs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its password is printed, also when it has one already; the broker must be told."""
    run(folder)
    before = set((folder / "mosquitto" / "passwd").read_text().splitlines())
    capsys.readouterr()

    assert run(folder, "device", "pump-1") == 0

    said = capsys.readouterr()
    name, password = said.out.split()
    assert name == "pump-1"
    assert "kill -HUP 1" in said.err
    added = set((folder / "mosquitto" / "passwd").read_text().splitlines()) - before
    assert [is_mosquitto_password(line, password) for line in added] == [True]

    run(folder, "device", "pump-1")
    again = capsys.readouterr()
    assert again.out.split() == ["pump-1", password]
    assert "HUP" not in again.err


@pytest.mark.parametrize("name", ["Pump", "../x", "svc.hub", "a/b", ""])
def test_a_device_id_outside_the_grammar_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It would be a path or a service."""
    assert run(folder, "device", name) == 1
    assert "is not a device id" in capsys.readouterr().err


def test_show_prints_every_secret_with_what_it_opens(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For the owner; nothing is made by it, and a start does not print any."""
    run(folder)
    quiet = capsys.readouterr()
    first = snapshot(folder)

    assert run(folder, "show") == 0

    said = capsys.readouterr().out
    for secret in SECRETS:
        value = (folder / "owner" / secret.name).read_text().strip()
        assert any(line.split()[:2] == [secret.name, value] for line in said.splitlines())
        assert value not in quiet.out + quiet.err
    assert snapshot(folder) == first


def test_the_acl_has_the_prefix_of_the_stack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices and services get the same from .env."""
    monkeypatch.setenv("PINLOOP_MQTT_PREFIX", "site/a")

    run(folder)

    assert "pattern write site/a/%u/status" in (folder / "mosquitto" / "acl").read_text()

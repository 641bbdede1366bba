"""A backup is whole or not there; a restore changes nothing unless all of it can be used."""

import contextlib
import io
import json
import os
import signal
import sqlite3
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pinloop.backup.archive import FORMAT, write
from pinloop.backup.place import restore_stack
from pinloop.backup.plan import STACK, STACK_ROOTS, stack_items
from pinloop.cli import main
from pinloop.errors import PinloopError
from pinloop.local.instance import locked
from pinloop.local.layout import Layout
from tests.support.processes import Child
from tests.support.wait import until
from webhook.database import Database


def pinloop(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A data folder with something of everything, that nobody runs on."""
    layout = Layout(tmp_path / "data", tmp_path / "data" / "rules.yml")
    for folder in (layout.secrets, layout.devices / "pot", layout.logs, layout.broker):
        folder.mkdir(parents=True)
    layout.secrets.chmod(0o700)
    layout.password("console").write_text("the-password\n")
    layout.password("console").chmod(0o600)
    (layout.devices / "pot" / "device.json").write_text("{}")
    for path in (layout.rules, layout.pins, layout.routes, layout.inputs, layout.tokens, layout.dead_letters):
        path.write_text(path.name)
    (layout.logs / "hub.log").write_text("noise")
    Database(layout.claims).close()
    fill(layout.store, 100)
    return layout


def fill(path: Path, rows: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE numbers (n INTEGER)")
        connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(rows)])


@pytest.fixture
def kept(layout: Layout, tmp_path: Path) -> Path:
    """A backup of it."""
    result = pinloop("backup", tmp_path / "kept.tar.gz", "--data-dir", layout.data)
    assert result.exit_code == 0, result.output
    return tmp_path / "kept.tar.gz"


def rewritten(kept: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], *more: tarfile.TarInfo) -> Path:
    """Return a backup in which `change` has been applied to each (name, content); None leaves one out."""
    path = kept.with_name("changed.tar.gz")
    with tarfile.open(kept) as old, tarfile.open(path, "w:gz") as new:
        for extra in more:
            new.addfile(extra, io.BytesIO(b"x" * extra.size))
        for member in old:
            result = change(member.name, old.extractfile(member).read())  # type: ignore[union-attr]
            if result:
                entry = tarfile.TarInfo(result[0])
                entry.size = len(result[1])
                new.addfile(entry, io.BytesIO(result[1]))
    return path


def test_everything_that_must_survive_is_in_it_and_only_the_owner_can_read_it(kept: Path) -> None:
    """Not the logs, not the broker's files: those are made anew."""
    with tarfile.open(kept) as tar:
        names = {name.removeprefix("data/") for name in tar.getnames()}
    assert names == {
        "secrets/console.password", "claims.db", "devices/pot/device.json", "rules.yml", "pins.yml", "routes.yml",
        "inputs.toml", "tokens.json", "dead-letters.jsonl", "store.db", "manifest.json",
    }  # fmt: skip
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_restore_brings_back_every_byte_and_keeps_what_was_there(layout: Layout, kept: Path) -> None:
    """The claims alone differ: by their epoch."""
    before = contents(layout.data)
    layout.password("console").write_text("another\n")
    layout.dead_letters.unlink()
    result = pinloop("restore", kept, "--data-dir", layout.data)
    assert result.exit_code == 0, result.output
    after = contents(layout.data)
    for name in ("secrets/console.password", "devices/pot/device.json", "rules.yml", "pins.yml", "dead-letters.jsonl"):
        assert after[name] == before[name]
    with contextlib.closing(sqlite3.connect(layout.store)) as connection:
        assert connection.execute("SELECT count(*), sum(n) FROM numbers").fetchone() == (100, 4950)
    assert layout.secrets.stat().st_mode & 0o777 == 0o700
    assert layout.password("console").stat().st_mode & 0o777 == 0o600
    (aside,) = layout.data.parent.glob("data.before-restore-*")
    assert str(aside) in result.output
    assert (aside / "secrets" / "console.password").read_text() == "another\n"


def test_it_restores_where_nothing_is(layout: Layout, kept: Path, tmp_path: Path) -> None:
    """A new machine: no folder yet, so nothing is put aside."""
    result = pinloop("restore", kept, "--data-dir", tmp_path / "new", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["aside"] == []
    assert (tmp_path / "new" / "secrets" / "console.password").read_text() == "the-password\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "kept.tar.gz", "new"]


def test_a_database_that_is_being_written_is_kept_as_of_one_moment(layout: Layout, tmp_path: Path) -> None:
    """Each transaction writes a pair; no copy has half of one."""
    with contextlib.closing(sqlite3.connect(layout.store)) as connection:
        connection.execute("CREATE TABLE pairs (n INTEGER)")
    over, written = threading.Event(), []

    def work() -> None:
        with contextlib.closing(sqlite3.connect(layout.store, timeout=30)) as connection:
            while not over.is_set():
                with connection:
                    connection.executemany("INSERT INTO pairs VALUES (?)", [(len(written),)] * 2)
                written.append(1)

    writer = threading.Thread(target=work)
    writer.start()
    try:
        for turn in range(5):
            done = len(written)
            until(lambda done=done: len(written) > done + 20, 10, "transactions")
            least = len(written)
            file = tmp_path / f"kept{turn}.tar.gz"
            assert pinloop("backup", file, "--data-dir", layout.data).exit_code == 0
            pinloop("restore", file, "--data-dir", tmp_path / f"back{turn}")
            with contextlib.closing(sqlite3.connect(tmp_path / f"back{turn}" / "store.db")) as copy:
                rows, pairs = copy.execute("SELECT count(*), count(DISTINCT n) FROM pairs").fetchone()
            assert rows == 2 * pairs >= 2 * least
    finally:
        over.set()
        writer.join(10)


def test_a_restore_is_refused_while_an_instance_runs(layout: Layout, kept: Path) -> None:
    """It names the folder and what to do."""
    before = contents(layout.data)
    with locked(layout):
        result = pinloop("restore", kept, "--data-dir", layout.data)
    assert result.exit_code == 1
    assert "already runs on" in result.output
    assert {**contents(layout.data), "lock": b""} == {**before, "lock": b""}


def test_a_newer_format_is_refused(layout: Layout, kept: Path) -> None:
    """It says which version can read it."""

    def newer(name: str, content: bytes) -> tuple[str, bytes]:
        if name != "manifest.json":
            return name, content
        return name, json.dumps({**json.loads(content), "format": FORMAT + 1, "pinloop": "9.0"}).encode()

    refused(layout, rewritten(kept, newer), "was made by a newer Pinloop (format 2; this one reads up to 1)")


def test_a_changed_byte_is_refused(layout: Layout, kept: Path) -> None:
    """Each file is compared with its hash."""

    def other(name: str, content: bytes) -> tuple[str, bytes]:
        return name, content.replace(b"the-password", b"thE-password")

    refused(layout, rewritten(kept, other), "is damaged (data/secrets/console.password is not as its manifest says)")


def test_a_missing_and_an_added_file_are_refused(layout: Layout, kept: Path) -> None:
    """The manifest names every file."""
    less = rewritten(kept, lambda name, content: None if name == "data/rules.yml" else (name, content))
    refused(layout, less, "is damaged (data/rules.yml")
    extra = tarfile.TarInfo("data/more")
    extra.size = 3
    refused(layout, rewritten(kept, lambda name, content: (name, content), extra), "is damaged (data/more")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_a_cut_off_file_is_refused(layout: Layout, kept: Path, share: float) -> None:
    """A copy that was interrupted."""
    whole = kept.read_bytes()
    kept.write_bytes(whole[: int(len(whole) * share)])
    refused(layout, kept, "is damaged")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b" + bytes(50)])
def test_what_is_no_backup_is_refused(layout: Layout, tmp_path: Path, content: bytes) -> None:
    """One clear line, no traceback."""
    (tmp_path / "other").write_bytes(content)
    refused(layout, tmp_path / "other", "is damaged")


def test_a_file_that_is_not_there_is_refused(layout: Layout, tmp_path: Path) -> None:
    """The name is told."""
    refused(layout, tmp_path / "nowhere", f"'{tmp_path}/nowhere': no such file")


@pytest.mark.parametrize(
    "name", ["../out", "/out", "data/../../out", "data//out", "data/./out", "data/a\\b", "data/a\nb"]
)
def test_a_name_that_leads_elsewhere_is_refused(layout: Layout, kept: Path, tmp_path: Path, name: str) -> None:
    """Nothing is written outside, nothing inside."""
    bad = tarfile.TarInfo(name)
    bad.size = 1
    refused(layout, rewritten(kept, lambda name, content: (name, content), bad), "is not a backup of ours")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_refused(layout: Layout, kept: Path, kind: bytes) -> None:
    """Only files are ever in a backup."""
    bad = tarfile.TarInfo("data/link")
    bad.type, bad.linkname = kind, "/etc/passwd"
    refused(layout, rewritten(kept, lambda name, content: (name, content), bad), "is not a backup of ours")


def test_a_backup_of_the_stack_is_refused_in_local_mode(layout: Layout, kept: Path) -> None:
    """And told where it belongs."""

    def stack(name: str, content: bytes) -> tuple[str, bytes]:
        return name, content.replace(b'"mode": "local"', b'"mode": "stack"')

    refused(layout, rewritten(kept, stack), "is a backup of the stack")


def refused(layout: Layout, file: Path, why: str) -> None:
    """Check that restoring says why not, exits 1 and changes nothing."""
    before = contents(layout.data)
    beside = {path.name for path in layout.data.parent.iterdir()}
    result = pinloop("restore", file, "--data-dir", layout.data)
    assert result.exit_code == 1, result.output
    assert why in result.output
    assert "Traceback" not in result.output
    after = contents(layout.data)
    after.pop("lock", None)
    before.pop("lock", None)
    assert after == before
    assert {path.name for path in layout.data.parent.iterdir()} == beside


def test_a_damaged_database_is_told_and_the_earlier_backup_stays(layout: Layout, kept: Path) -> None:
    """Better an old backup than a useless one."""
    old = kept.read_bytes()
    layout.claims.write_text("not a database, but long enough to look like one " * 100)
    result = pinloop("backup", kept, "--data-dir", layout.data)
    assert result.exit_code == 1
    assert "claims.db' cannot be copied" in result.output
    assert kept.read_bytes() == old
    assert list(kept.parent.glob(".kept*")) == []


def test_a_folder_without_pinloop_is_told(tmp_path: Path) -> None:
    """An empty backup would be believed."""
    result = pinloop("backup", tmp_path / "kept.tar.gz", "--data-dir", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "there is no Pinloop in" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_backup_that_is_killed_leaves_no_file_and_the_next_one_cleans_up(
    layout: Layout, tmp_path: Path, spawn: Callable[..., Child]
) -> None:
    """SIGKILL in the middle: what stands under the name is the earlier backup."""
    file = tmp_path / "kept.tar.gz"
    file.write_bytes(b"the earlier one")
    layout.store.unlink()
    fill(layout.store, 3_000_000)
    child = spawn(["python", "-m", "pinloop", "backup", file, "--data-dir", layout.data])
    until(lambda: next(iter(tmp_path.glob(".kept.tar.gz.partial-*/archive"))).stat().st_size > 0, 20, "it is packing")
    os.kill(child.pid, signal.SIGKILL)
    child.wait(5)
    assert file.read_bytes() == b"the earlier one"
    assert len(list(tmp_path.glob(".kept*"))) == 1

    assert pinloop("backup", file, "--data-dir", layout.data).exit_code == 0
    assert list(tmp_path.glob(".kept*")) == []
    assert pinloop("restore", file, "--data-dir", tmp_path / "new").exit_code == 0


@pytest.mark.long
def test_a_backup_that_is_asked_to_stop_leaves_nothing(
    layout: Layout, tmp_path: Path, spawn: Callable[..., Child]
) -> None:
    """SIGTERM, as a timer that is too short sends it."""
    layout.store.unlink()
    fill(layout.store, 3_000_000)
    child = spawn(["python", "-m", "pinloop", "backup", tmp_path / "kept.tar.gz", "--data-dir", layout.data])
    until(lambda: next(iter(tmp_path.glob(".kept.tar.gz.partial-*/archive"))).stat().st_size > 0, 20, "it is packing")
    child.terminate()
    assert child.wait(10) == 1
    assert list(tmp_path.glob("*kept*")) == []
    assert list(tmp_path.glob(".kept*")) == []


@pytest.fixture
def volumes(tmp_path: Path) -> dict[str, Path]:
    """The stack's volumes with something of everything."""
    roots = {name: tmp_path / "volumes" / name for name in STACK_ROOTS}
    for path in roots.values():
        path.mkdir(parents=True)
    (roots["secrets"] / "owner" / "devices").mkdir(parents=True)
    (roots["secrets"] / "owner" / "console_password").write_text("the-password\n")
    (roots["secrets"] / "owner" / "devices" / "pot").write_text("pots-password\n")
    (roots["secrets"] / "hub").mkdir()
    (roots["secrets"] / "hub" / "console_password").write_text("the-password\n")
    Database(roots["webhook"] / "claims.db").close()
    fill(roots["grafana"] / "grafana.db", 10)
    (roots["influxdb"] / "engine").mkdir()
    (roots["influxdb"] / "engine" / "1.tsm").write_bytes(b"points")
    return roots


def kept_stack(volumes: dict[str, Path], tmp_path: Path) -> Path:
    write(tmp_path / "stack.tar.gz", STACK, stack_items(volumes))
    return tmp_path / "stack.tar.gz"


def test_the_stacks_volumes_come_back_with_what_was_there_aside(volumes: dict[str, Path], tmp_path: Path) -> None:
    """Twice in a row: what the first restore put aside is not kept again."""
    file = kept_stack(volumes, tmp_path)
    (volumes["secrets"] / "owner" / "console_password").write_text("another\n")
    (volumes["webhook"] / "claims.db-wal").write_bytes(b"of another database")
    (volumes["influxdb"] / "engine" / "2.tsm").write_bytes(b"later points")

    done = restore_stack(file, volumes)

    assert (volumes["secrets"] / "owner" / "console_password").read_text() == "the-password\n"
    assert (volumes["secrets"] / "owner" / "devices" / "pot").read_text() == "pots-password\n"
    assert (volumes["secrets"] / "hub" / "console_password").exists()  # `setup` brings the copies up to date
    assert not (volumes["webhook"] / "claims.db-wal").exists()
    assert [path.name for path in (volumes["influxdb"] / "engine").iterdir()] == ["1.tsm"]
    asides = {path.parent.name for path in done.aside}
    assert asides == {"secrets", "webhook", "grafana", "influxdb"}
    again = kept_stack(volumes, tmp_path)
    with tarfile.open(again) as tar:
        assert set(tar.getnames()) == {
            "secrets/owner/console_password", "secrets/owner/devices/pot", "webhook/claims.db",
            "grafana/grafana.db", "influxdb/engine/1.tsm", "manifest.json",
        }  # fmt: skip


def test_a_restored_file_of_the_stack_belongs_to_its_service_again(volumes: dict[str, Path], tmp_path: Path) -> None:
    """Each container can read its own."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    database = volumes["webhook"] / "claims.db"
    os.chown(database, 10003, 10003)
    os.chown(volumes["influxdb"] / "engine" / "1.tsm", 1000, 1000)
    restore_stack(kept_stack(volumes, tmp_path), volumes)
    assert (database.stat().st_uid, database.stat().st_gid) == (10003, 10003)
    assert (volumes["influxdb"] / "engine" / "1.tsm").stat().st_uid == 1000
    assert (volumes["influxdb"] / "engine").stat().st_uid == volumes["influxdb"].stat().st_uid == 1000


def test_the_stack_is_not_restored_while_its_webhook_runs(volumes: dict[str, Path], tmp_path: Path) -> None:
    """The lock on the claims database says so, across containers too."""
    file = kept_stack(volumes, tmp_path)
    database = Database(volumes["webhook"] / "claims.db")
    try:
        with pytest.raises(PinloopError, match="the stack runs"):
            restore_stack(file, volumes)
    finally:
        database.close()
    assert (volumes["influxdb"] / "engine" / "1.tsm").exists()


def test_into_new_volumes_it_puts_nothing_of_roots(volumes: dict[str, Path], tmp_path: Path) -> None:
    """A lock that root made would shut the webhook out of its own folder."""
    file = kept_stack(volumes, tmp_path)
    new = {name: tmp_path / "new" / name for name in STACK_ROOTS}
    with pytest.raises(PinloopError, match=r"there is no '.*webhook'"):
        restore_stack(file, new)
    for path in new.values():
        path.mkdir(parents=True)

    done = restore_stack(file, new)

    assert done.aside == []
    assert [path.name for path in new["webhook"].iterdir()] == ["claims.db"]

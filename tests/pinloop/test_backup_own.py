"""What the owner edits is kept, and a restore of the stack never writes over it; nothing is missing from the spool."""

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from listener.spool import Spool
from pinloop.backup.archive import Manifest, unpack, write
from pinloop.backup.own import BESIDE, OUTSIDE, PUT_BACK, SAME, OwnFile, own_items
from pinloop.backup.place import Restored, restore_stack
from pinloop.backup.plan import STACK, STACK_ROOTS, Item, local_items, stack_items
from pinloop.cli import main
from pinloop.local.layout import Layout
from webhook.database import Database

ROUTES = "version: 1\nroutes: []\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The folder of docker-compose.yml, with files of the owner's."""
    folder = tmp_path / "checkout"
    (folder / "mine").mkdir(parents=True)
    (folder / ".env").write_text("ROUTES_FILE=./mine/routes.yml\n")
    (folder / "mine" / "routes.yml").write_text(ROUTES)
    return folder


@pytest.fixture
def volumes(tmp_path: Path) -> dict[str, Path]:
    """Volumes with a claims database, a spool and dead letters."""
    roots = {name: tmp_path / "volumes" / name for name in STACK_ROOTS}
    for path in roots.values():
        path.mkdir(parents=True)
    Database(roots["webhook"] / "claims.db").close()
    fill_spool(roots["listener"] / "spool")
    for name in ("dead-letter.jsonl", "dead-letter.jsonl.1"):
        (roots["listener"] / name).write_text("{}\n")
    return roots


def fill_spool(path: Path) -> None:
    """Leave two records there, of which the first was read."""
    spool = Spool(path, 1 << 20, 1e6)
    spool.add_reader("main", required=True, from_start=True)
    first = spool.append(b"first", 1)
    spool.append(b"second", 1)
    spool.advance("main", first)
    spool.close()


def unread(path: Path) -> list[bytes]:
    """Return what a listener would still have to store."""
    spool = Spool(path, 1 << 20, 1e6)
    spool.add_reader("main", required=True, from_start=True)
    return [record.body for record in spool.read("main", 10, spool.end)]


def kept(checkout: Path, volumes: dict[str, Path], shipped: Path) -> Path:
    """Return a backup; what stack.sh would mount is in place."""
    elsewhere = checkout.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "rules.yml").write_text("version: 1\nrules: []\n")
    file = checkout.parent / "kept.tar.gz"
    items: list[Item] = [*own_items({"own": checkout, "elsewhere": elsewhere}, shipped), *stack_items(volumes)]
    write(file, STACK, items)
    return file


@pytest.fixture
def file(checkout: Path, volumes: dict[str, Path], tmp_path: Path) -> Path:
    """A backup of all that."""
    return kept(checkout, volumes, tmp_path / "no-samples")


def names(path: Path) -> set[str]:
    manifest: Manifest = unpack(path, lambda _: None)
    return set(manifest.files)


def restored(file: Path, volumes: dict[str, Path], checkout: Path) -> dict[str, OwnFile]:
    done: Restored = restore_stack(file, volumes, checkout)
    return {one.name: one for one in done.own}


def test_the_owners_files_are_in_the_backup(file: Path) -> None:
    """Where they were is their name."""
    assert {"own/.env", "own/mine/routes.yml", "elsewhere/rules.yml"} <= names(file)


def test_a_sample_that_nobody_changed_is_not_kept(checkout: Path, volumes: dict[str, Path], tmp_path: Path) -> None:
    """A later version has its own."""
    shipped = tmp_path / "shipped" / "webhook"
    shipped.mkdir(parents=True)
    for folder in (shipped, checkout / "webhook"):
        folder.mkdir(exist_ok=True)
        (folder / "routes.yml").write_text(ROUTES)
        (folder / "pins.yml").write_text("as it came")
    (checkout / "webhook" / "pins.yml").write_text("changed in its place")

    found = names(kept(checkout, volumes, shipped.parent))

    assert "own/webhook/pins.yml" in found
    assert "own/webhook/routes.yml" not in found


def test_on_a_new_machine_they_are_put_back_where_they_were(
    file: Path, volumes: dict[str, Path], checkout: Path
) -> None:
    """With their folders, as the owner of the checkout; what was elsewhere is beside the backup."""
    shutil.rmtree(checkout)
    checkout.mkdir()
    if os.geteuid() == 0:
        os.chown(checkout, 1234, 1234)

    done = restored(file, volumes, checkout)

    assert {name: one.state for name, one in done.items()} == {
        ".env": PUT_BACK, "mine/routes.yml": PUT_BACK, "rules.yml": OUTSIDE,
    }  # fmt: skip
    assert (checkout / ".env").read_text() == "ROUTES_FILE=./mine/routes.yml\n"
    assert (checkout / "mine" / "routes.yml").read_text() == ROUTES
    assert (file.parent / "kept.tar.gz.rules.yml").read_text() == "version: 1\nrules: []\n"
    if os.geteuid() == 0:
        assert {path.stat().st_uid for path in (checkout / "mine", *checkout.rglob("*"))} == {1234}


def test_what_only_its_owner_may_read_is_never_readable_by_others(
    file: Path, volumes: dict[str, Path], checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while it is written: it may hold passwords."""
    modes: list[int] = []
    copy = shutil.copyfile

    def watched(content: Path, target: Path) -> None:
        copy(content, target)
        modes.append(target.stat().st_mode & 0o077)

    monkeypatch.setattr(shutil, "copyfile", watched)
    shutil.rmtree(checkout)
    checkout.mkdir()
    restore_stack(file, volumes, checkout)
    assert modes
    assert not any(modes)


def test_a_newer_edit_stays_in_force(file: Path, volumes: dict[str, Path], checkout: Path) -> None:
    """The backup's is put beside it, under a name that says what it is; what is the same is left alone."""
    (checkout / "mine" / "routes.yml").write_text("made stricter since\n")

    done = restored(file, volumes, checkout)

    assert (checkout / "mine" / "routes.yml").read_text() == "made stricter since\n"
    one = done["mine/routes.yml"]
    assert (one.state, one.path.read_text()) == (BESIDE, ROUTES)
    assert one.path.parent == checkout / "mine"
    assert one.path.name.startswith("routes.yml.from-backup-")
    assert done[".env"].state == SAME
    assert sorted(path.name for path in checkout.iterdir()) == [".env", "mine"]


@pytest.mark.parametrize("name", ["own/.git/hooks/pre-commit", "own/.bashrc", "own/away/routes.yml"])
def test_a_file_of_an_unlikely_place_is_put_beside_the_backup(
    checkout: Path, volumes: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """Nothing hidden but .env, and nothing through a link."""
    (tmp_path / "strange").write_text("strange")
    (tmp_path / "far").mkdir()
    (checkout / "away").symlink_to(tmp_path / "far")
    file = tmp_path / "strange.tar.gz"
    write(file, STACK, [Item(name, tmp_path / "strange"), *stack_items(volumes)])

    (one,) = restored(file, volumes, checkout).values()

    assert (one.state, one.path.parent) == (OUTSIDE, tmp_path)
    assert list((tmp_path / "far").iterdir()) == []
    assert not (checkout / ".git").exists()


def test_a_link_in_its_place_is_neither_followed_nor_replaced(
    file: Path, volumes: dict[str, Path], checkout: Path, tmp_path: Path
) -> None:
    """In the container that restores it leads elsewhere."""
    (tmp_path / "theirs").write_text("theirs")
    (checkout / ".env").unlink()
    (checkout / ".env").symlink_to(tmp_path / "theirs")

    assert restored(file, volumes, checkout)[".env"].state == BESIDE

    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (checkout / ".env").is_symlink()


def test_the_stacks_spool_and_both_files_of_dead_letters_come_back(
    file: Path, volumes: dict[str, Path], checkout: Path
) -> None:
    """What the listener had acknowledged and the store had not is stored after the restore."""
    shutil.rmtree(volumes["listener"])
    volumes["listener"].mkdir()

    restored(file, volumes, checkout)

    assert unread(volumes["listener"] / "spool") == [b"second"]
    assert {path.name for path in volumes["listener"].glob("dead*")} == {"dead-letter.jsonl", "dead-letter.jsonl.1"}


def test_the_spool_is_copied_before_what_its_readings_go_to(tmp_path: Path) -> None:
    """Cursors, segments, dead letters, store: in this order what moves meanwhile is copied twice, never not at all."""
    layout = Layout(tmp_path, tmp_path / "rules.yml")
    fill_spool(layout.spool)
    (layout.spool / "main.new").write_text("half a cursor")
    for path in (layout.dead_letters, layout.dead_letters.with_name("dead-letters.jsonl.1"), layout.store):
        path.write_text("")

    assert [item.name for item in local_items(layout, layout.rules)] == [
        "data/spool/main.cursor",
        "data/spool/00000000000000000000.spool",
        "data/dead-letters.jsonl",
        "data/dead-letters.jsonl.1",
        "data/store.db",
    ]


def test_in_local_mode_a_restore_says_which_of_the_owners_files_differ_from_before(tmp_path: Path) -> None:
    """The whole folder is put aside there, the files with it."""
    layout = Layout(tmp_path / "data", tmp_path / "data" / "rules.yml")
    layout.secrets.mkdir(parents=True)
    fill_spool(layout.spool)
    for path in (layout.pins, layout.routes):
        path.write_text("as it was")
    file = tmp_path / "kept.tar.gz"
    words = ["--data-dir", str(layout.data)]
    assert CliRunner().invoke(main, ["backup", str(file), *words]).exit_code == 0
    layout.pins.write_text("made stricter since")
    shutil.rmtree(layout.spool)

    result = CliRunner().invoke(main, ["restore", str(file), *words])

    assert "Of your files these differ from before: pins.yml." in result.output
    assert unread(layout.spool) == [b"second"]

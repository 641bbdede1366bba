"""The SQLite file: several processes, full disks, files that go away."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from store.errors import StoreError
from store.points import Point
from store.sqlite import SqliteStore
from tests.support.processes import Child
from tests.support.wait import until


def points(first: int, count: int, text: str = "") -> list[Point]:
    """Return `count` readings of one device."""
    fields: dict[str, float | str] = {"boot": "k3f9" + text}
    return [
        Point("readings", (("device", "pot"),), {"pot": n, "n": n, **fields}, n) for n in range(first, first + count)
    ]


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    """A store in a folder that does not exist yet."""
    return SqliteStore(tmp_path / "data" / "store.db")


def stored(store: SqliteStore) -> int:
    return len(list(store.identities(10**6)))


def test_a_full_disk_is_transient_and_keeps_what_was_there(store: SqliteStore) -> None:
    """SQLite's own limit stands for the disk's: the write fails as a whole, reads go on, room makes it work again."""
    store.write(points(0, 10))
    with store._open() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match="full") as caught:
        store.write(points(10, 2000, "x" * 50))
    assert not caught.value.permanent
    assert stored(store) == 10

    with store._open() as connection:
        connection.execute("PRAGMA max_page_count = 100000")
    store.write(points(10, 2000, "x" * 50))
    assert stored(store) == 2010


def test_another_process_reads_while_this_one_writes(store: SqliteStore, spawn: Callable[..., Child]) -> None:
    """The hub follows the listener's file."""
    reader = (
        "import sys, pathlib; from store.sqlite import SqliteStore\n"
        "store = SqliteStore(pathlib.Path(sys.argv[1])); last = 0\n"
        "while last < 300:\n"
        "    now = len(list(store.identities(1000)))\n"
        "    assert now >= last and now % 10 == 0, (last, now)\n"
        "    last = now\n"
    )
    child = spawn(["python", "-c", reader, store._path])
    for first in range(0, 300, 10):
        store.write(points(first, 10))
    assert child.wait(10) == 0, child.text()


def test_processes_that_open_a_new_file_at_once_all_succeed(tmp_path: Path, spawn: Callable[..., Child]) -> None:
    """`pinloop up` starts the listener and the hub in the same moment."""
    opener = (
        "import sys, time, pathlib; from store.sqlite import SqliteStore\n"
        "while not pathlib.Path(sys.argv[2]).exists(): pass\n"
        "for n in range(20): SqliteStore(pathlib.Path(sys.argv[1]) / str(n) / 'x.db').devices()\n"
    )
    go = tmp_path / "go"
    children = [spawn(["python", "-c", opener, tmp_path, go]) for _ in range(3)]
    go.touch()
    assert [child.wait(20) for child in children] == [0, 0, 0], [child.text() for child in children]


def test_a_deleted_file_is_noticed_and_made_again(store: SqliteStore) -> None:
    """Writing to a file that has no name any more would succeed and be lost."""
    store.write(points(0, 5))
    shutil.rmtree(store._path.parent)
    store.write(points(5, 3))
    assert stored(SqliteStore(store._path)) == 3


def test_a_folder_that_cannot_be_made_is_transient(store: SqliteStore) -> None:
    """A file stands where the folder should be; when it is gone the same store works."""
    store._path.parent.write_text("in the way")
    with pytest.raises(StoreError, match=r"data") as caught:
        store.write(points(0, 1))
    assert not caught.value.permanent

    store._path.parent.unlink()
    store.write(points(0, 1))
    assert stored(store) == 1


def test_a_file_that_is_no_database_is_left_alone(store: SqliteStore) -> None:
    """The operator's file is not overwritten."""
    store._path.parent.mkdir()
    store._path.write_bytes(b"my notes, not a database" * 1000)
    with pytest.raises(StoreError, match="not a database") as caught:
        store.write(points(0, 1))
    assert not caught.value.permanent
    assert store._path.read_bytes().startswith(b"my notes")


def test_a_file_of_another_schema_is_refused(store: SqliteStore) -> None:
    """An older program does not write into a newer one's file."""
    store._path.parent.mkdir()
    with sqlite3.connect(store._path) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="schema 99"):
        store.devices()


def test_a_writer_that_holds_the_file_is_waited_for_and_then_transient(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that locks the file delays points, it does not lose them."""
    monkeypatch.setattr("store.sqlite._BUSY_TIMEOUT_S", 0.05)
    store.write(points(0, 1))
    other = sqlite3.connect(store._path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked") as caught:
        store.write(points(1, 1))
    assert not caught.value.permanent

    other.execute("ROLLBACK")
    store.write(points(1, 1))
    assert stored(store) == 2


def test_what_was_written_survives_the_writers_death(store: SqliteStore, spawn: Callable[..., Child]) -> None:
    """Every write that returned is there after SIGKILL, and none is half there."""
    writer = (
        "import sys, pathlib; from store.sqlite import SqliteStore; from store.points import Point\n"
        "store = SqliteStore(pathlib.Path(sys.argv[1])); n = 0\n"
        "while True:\n"
        "    store.write([Point('readings', (('device', 'pot'),), {'x': 1, 'n': n + i, 'boot': 'b'}, n + i)"
        " for i in range(7)])\n"
        "    n += 7\n"
        "    print(n)\n"
    )
    child = spawn(["python", "-c", writer, store._path])
    until(lambda: child.text().count("\n") > 50)
    child.kill()
    child.wait(5)
    promised = int(child.text().rsplit("\n", 2)[-2])
    assert stored(store) >= promised
    assert stored(store) % 7 == 0

"""The claims database: many keys and rows in a statement, and commits that do not wait for the disk."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from webhook.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "claims.db")
    yield opened
    opened.close()


@pytest.mark.parametrize("count", [0, 1, 2, 9, 100, 1500])
def test_many_rows_are_written_and_found_by_their_keys(database: Database, count: int) -> None:
    """Each once, however the number fits the statements; of others none."""
    rows = [(f"d{number}", "p", 0) for number in range(count)]
    with database.transaction():
        database.write("INSERT INTO starts VALUES {rows}", [*rows, ("other", "p", 0)])
        keys = [row[:2] for row in rows]
        found = [tuple(row) for row in database.among("starts.*", "starts", ("device", "pin"), keys)]
    assert sorted(found) == sorted(rows)


def test_a_commit_that_need_not_last_leaves_the_next_one_durable(database: Database) -> None:
    """Also when it fails, and within another one it is a part of that."""
    level = "PRAGMA synchronous"
    with database.transaction(durable=False) as connection:
        assert connection.execute(level).fetchone()[0] == 1
    with pytest.raises(sqlite3.Error), database.transaction(durable=False) as connection:
        connection.execute("no SQL")
    assert database.connection.execute(level).fetchone()[0] == 2
    with database.transaction(), database.transaction(durable=False) as connection:
        assert connection.execute(level).fetchone()[0] == 2


def test_the_journal_is_brought_in_when_nobody_writes(database: Database) -> None:
    """Then the next commit writes over it instead of making it longer."""
    for number in range(50):
        with database.transaction():
            database.write("INSERT INTO starts VALUES {rows}", [(f"d{number}", "p", 0)])
    database.tidy()
    database.tidy()
    reader = sqlite3.connect(f"file:{database.path}?immutable=1", uri=True)  # without the journal
    assert reader.execute("SELECT count(*) FROM starts").fetchone() == (50,)
    reader.close()

"""The claims database: many keys and rows in a statement, and commits that do not wait for the disk."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from webhook.database import Database, is_busy


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


def test_a_file_that_another_process_locks_costs_all_who_wait_one_wait(database: Database) -> None:
    """Not one each, while they hold up who only reads; and when it is free, the next one is let in at once."""
    outcomes: list[str] = []

    def write() -> None:
        try:
            with database.transaction():
                outcomes.append("done")
        except sqlite3.OperationalError as error:
            outcomes.append("busy" if is_busy(error) else str(error))

    waits: list[str] = []
    database.connection.set_trace_callback(lambda sql: waits.append(sql) if "busy_timeout = 0" in sql else None)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began_s = time.monotonic()
        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert (outcomes, len(waits)) == (["busy"] * 8, 7)
        assert time.monotonic() - began_s < 4
        other.execute("ROLLBACK")
    write()
    assert outcomes[-1] == "done"
    assert database.connection.execute("PRAGMA busy_timeout").fetchone()[0] == 1000

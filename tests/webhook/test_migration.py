"""Claims databases of earlier schemas are brought up to date, with what is in them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from service.errors import StartError
from tests.webhook.desk import NOW_S, PIN, notice, open_desk
from webhook.database import _MIGRATIONS, Database

# As version 0.1 wrote them: a claim, its command, and two changes of which one is acknowledged.
OLD_ROWS = """
INSERT INTO meta VALUES ('epoch', 'k3f9');
INSERT INTO alerts
    VALUES ('f1', 'hot', '{}', '{}', 1799999000, 'firing', 'claimed', '', '["lights/red=1"]', 1799999900);
INSERT INTO claims VALUES ('lights', 'red', 'f1', 1, 'alert', 'hot', 1799999000, 1800000200);
INSERT INTO commands
    VALUES ('lights', 'red', 1, 'alert', 'hot', 77, 300, 1799999000, 1799999900, 1799999990, 1799999901);
INSERT INTO changes VALUES (1, 1799998000, 'lights', 'red', NULL, '', '', 'cold: withdrawn', 70, NULL, NULL);
INSERT INTO changes
    VALUES (2, 1799999000, 'lights', 'red', 1, 'alert', 'hot', 'hot: claimed', 71, 1799999000.1, 1799999000.2);
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of schema 1."""
    path = tmp_path / "claims.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{_MIGRATIONS[0]};{OLD_ROWS};PRAGMA user_version = 1;")
    return path


def test_a_database_of_the_first_schema_is_brought_up_to_date(old: Path) -> None:
    """Epoch, claims, commands and the log are what they were, and go on."""
    desk = open_desk(old)
    assert desk.database.epoch == "k3f9"
    assert desk.claims.of(PIN)[0].source == "hot"
    command = desk.commands.of(PIN)
    assert command
    assert (command.value, command.seq, command.dry_run) == (1, 77, 0)
    log = [(row["reason"], row["acked_s"], row["held_by"], row["dry_run"]) for row in desk.commands.log(0, 0, None, 9)]
    assert log == [("cold: withdrawn", None, "", 0), ("hot: claimed", 1799999000.1, "", 0)]
    desk.claims.notify([notice(fingerprint="f2")], NOW_S)
    assert len(desk.claims.of(PIN)) == 2
    desk.database.close()


def test_a_migration_that_fails_half_way_leaves_the_database_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start tries again."""
    broken = (*_MIGRATIONS, "CREATE TABLE more (id INTEGER); CREATE TABLE claims (x);")
    with monkeypatch.context() as patch:
        patch.setattr("webhook.database._MIGRATIONS", broken)
        with pytest.raises(StartError, match="claims already exists"):
            Database(old)
    desk = open_desk(old)
    assert desk.claims.of(PIN)
    assert not desk.database.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'more'").fetchall()
    desk.database.close()


def test_a_database_of_a_later_version_is_refused(old: Path) -> None:
    """Going on could lose what this version does not know of."""
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StartError, match="newer Pinloop"):
        Database(old)

"""The log of changes: append-only, bounded by age and number, exported in pages."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from contract.topics import Topics
from tests.webhook.desk import NOW_S, PIN, Desk, notice
from webhook.claims import Claims
from webhook.commands import Commands
from webhook.database import Database
from webhook.dialects import RESOLVED
from webhook.facts import Facts
from webhook.observed import Observed


def switch(desk: Desk, times: int) -> None:
    """Let an alert come and go, a second each."""
    for number in range(times):
        at_s = NOW_S + 2 * number
        desk.claims.notify([notice(starts_at=at_s)], at_s)
        desk.claims.notify([notice(RESOLVED, starts_at=at_s)], at_s + 1)


def test_the_log_is_read_in_pages_from_any_place(desk: Desk) -> None:
    """Every change once, the oldest first."""
    switch(desk, 5)
    found: list[int] = []
    while page := desk.commands.log(found[-1] if found else 0, 0, None, 3):
        assert len(page) <= 3
        found += [row["id"] for row in page]
    assert found == list(range(1, 11))
    assert [row["at_s"] - NOW_S for row in desk.commands.log(0, NOW_S + 8, PIN, 99)] == [8, 9]
    assert desk.commands.log(0, 0, ("lights", "green"), 99) == []


def test_what_was_written_stands(desk: Desk) -> None:
    """Acknowledgements are added; nothing else of a change can be altered."""
    switch(desk, 1)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        desk.database.connection.execute("UPDATE changes SET value = 0")
    desk.commands.acknowledge([(PIN, 2**60, NOW_S + 2)])
    assert desk.commands.changes(PIN, 1)[0]["acked_s"] == NOW_S + 2


def test_the_log_is_bounded_by_age_and_by_number(desk: Desk) -> None:
    """The oldest go first."""
    switch(desk, 10)
    desk.commands.prune(NOW_S + 4, 100)
    assert [row["id"] for row in desk.commands.log(0, 0, None, 99)] == list(range(5, 21))
    desk.commands.prune(0, 3)
    assert [row["id"] for row in desk.commands.log(0, 0, None, 99)] == [18, 19, 20]


def test_the_claims_keep_the_log_within_what_the_settings_say(tmp_path: Path) -> None:
    """Both bounds, whenever they look after what is old."""
    for number, (log_s, log_changes, kept) in enumerate([(5, 100, 5), (1e9, 3, 3)]):
        database = Database(tmp_path / f"{number}.db")
        commands = Commands(database, ttl_s=300)
        claims = Claims(database, commands, {PIN: 0.0}.get, {}, 300, log_s=log_s, log_changes=log_changes)
        switch(Desk(database, claims, commands), 5)
        claims.prune(NOW_S + 10)
        assert [row["id"] for row in commands.log(0, 0, None, 99)] == list(range(11 - kept, 11))
        database.close()


def test_numbers_of_changes_never_begin_anew(desk: Desk) -> None:
    """Whoever exports what is after the last number would miss all that follows a quiet year."""
    switch(desk, 5)
    desk.commands.prune(NOW_S + 1e9, 100)
    switch(desk, 1)
    assert [row["id"] for row in desk.commands.log(10, 0, None, 99)] == [11, 12]


def test_why_tells_the_last_ten_changes_with_their_acknowledgements(desk: Desk) -> None:
    """The newest first; that of the broker and that of the device, when they came."""
    switch(desk, 8)
    desk.commands.acknowledge([(PIN, 2**60, NOW_S + 16)])
    observed = Observed(Topics(), lambda _device: None)
    found = Facts(desk.database, desk.claims, desk.commands, observed, 30).why(PIN, NOW_S + 20)["changes"]
    assert [one["id"] for one in found] == list(range(16, 6, -1))
    assert [one["acked_at_s"] for one in found] == [NOW_S + 16] + [None] * 9
    assert [one["reason"] for one in found[:2]] == ["f1: withdrawn", "f1: claimed"]


def test_the_api_pages_the_log_and_names_bad_parameters(webhook: Any) -> None:
    """`next` leads from page to page; 400 says key, value and rule."""
    webhook.alert("a", "lights/red=1,lights/green=1")
    webhook.alert("a", "lights/red=1,lights/green=1", "resolved")
    page = webhook.call("GET", "/changes?most=3")[1]
    assert [one["value"] for one in page["changes"]] == [1, 1, None]
    rest = webhook.call("GET", f"/changes?after={page['next']}")[1]
    assert ([one["value"] for one in rest["changes"]], rest["next"]) == ([None], None)
    assert len(webhook.call("GET", "/changes?pin=lights/red&since_s=1e9")[1]["changes"]) == 2
    assert webhook.call("GET", "/changes", user="alerts")[0] in (401, 403)
    for query in ("after=-1", "after=x", "since_s=nan", "pin=lights", "pin=../x", "most=0", "most=1001", "sinse_s=1"):
        status, problem = webhook.call("GET", f"/changes?{query}")
        assert status == 400
        assert query.partition("=")[0] in problem["detail"]

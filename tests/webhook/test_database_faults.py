"""The claims database locked by another process, lost, or an old copy of itself."""

import json
import shutil
import sqlite3
import time
from contextlib import closing
from typing import Any

from tests.support.broker import Client
from tests.support.wait import until
from tests.webhook.test_webhook_faults import describe, report

ALERT = {
    "version": "4",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "a", "actuate": "lights/red=1"},
            "annotations": {},
            "startsAt": "2026-01-01T00:00:00Z",
            "fingerprint": "a1",
        }
    ],
}


def test_a_database_that_another_process_locks_is_503_and_then_good_again(webhook: Any, client: Client) -> None:
    """Within seconds, with the reason; nothing was done, so the sender's next try does it."""
    commands = client.collect("pinloop/lights/pin/red/set")
    with closing(sqlite3.connect(webhook.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        status, problem = webhook.call("POST", "/alert", ALERT, "alerts")
        assert (status, problem["reason"]) == (503, "database")
        assert "locked" in problem["detail"]
        assert time.monotonic() - started < 4
        assert webhook.call("GET", "/claims")[1] == {"claims": []}  # reading goes on
        other.execute("ROLLBACK")
    assert webhook.call("POST", "/alert", ALERT, "alerts")[1]["published"] == 1
    assert [json.loads(message.payload)["v"] for message in commands] == [1]


def test_a_database_that_was_lost_begins_a_new_epoch_and_releases_what_nobody_claims(
    webhook: Any, client: Client
) -> None:
    """A sender that still fires claims its pin anew; devices take the new epoch from its first command."""
    commands = client.collect("pinloop/lights/pin/red/set")
    webhook.call("POST", "/alert", ALERT, "alerts")
    first = json.loads(commands.until(lambda message: message.payload).payload)
    webhook.kill()
    for file in webhook.database.parent.glob("claims.db*"):
        file.unlink()
    webhook.start()
    commands.until(lambda message: not message.payload)
    webhook.call("POST", "/alert", ALERT, "alerts")
    until(lambda: commands[-1].payload, 5, "a command")
    assert json.loads(commands[-1].payload)["epoch"] != first["epoch"]


def test_an_old_copy_of_the_database_is_not_ignored_by_devices(webhook: Any, client: Client) -> None:
    """Put back by hand, with its epoch: the next command is beyond the seq that the device has followed."""
    describe(client)
    webhook.call("POST", "/alert", ALERT, "alerts")
    webhook.process.terminate()
    webhook.process.wait(10)
    copy = webhook.database.with_suffix(".copy")
    shutil.copy(webhook.database, copy)
    webhook.start()
    followed = int(time.time() * 1000) + 3_600_000
    report(client, 1, followed)
    webhook.kill()
    for file in webhook.database.parent.glob("claims.db*"):
        file.unlink()
    shutil.copy(copy, webhook.database)
    commands = client.collect("pinloop/lights/pin/red/set")
    webhook.start()
    describe(client)
    commands.until(lambda message: message.payload and json.loads(message.payload)["seq"] > followed)

"""`docker compose run --rm listener pinloop deadletter`: what the store refuses is kept, and stored when it may be."""

import json
import time
from typing import Any

from tests.stack.compose import Stack
from tests.stack.load import Load
from tests.support.wait import until

DAY_S = 86400
FILE = "/data/listener/dead-letter.jsonl"


def keep(stack: Stack, days: int) -> None:
    """Say how long the store keeps readings; 0 is for ever."""
    if "standin" in stack.environment["INFLUXDB_IMAGE"]:
        words = f"ALTER RETENTION POLICY autogen ON pinloop DURATION {f'{days}d' if days else 'INF'}"
        stack.http("INFLUXDB_PORT", "/query", token=stack.secret("store_write_token"), body=b"", query={"q": words})
        return
    operator = stack.secret("influxdb_token")
    bucket = stack.http("INFLUXDB_PORT", "/api/v2/buckets", token=operator, query={"name": "pinloop"})["buckets"][0][
        "id"
    ]
    body = {"retentionRules": [{"type": "expire", "everySeconds": days * DAY_S}]}
    stack.http("INFLUXDB_PORT", f"/api/v2/buckets/{bucket}", token=operator, body=body, method="PATCH")


def letter_file(stack: Stack) -> list[dict[str, Any]]:
    """Return what is in the listener's file."""
    return [json.loads(line) for line in stack.execute("listener", "cat", FILE).splitlines()]


def test_a_point_that_the_store_refuses_is_a_letter_and_is_stored_when_its_cause_is_mended(
    stack: Stack, load: Load
) -> None:
    """A reading from before what the store keeps; then it keeps more, and the letter is replayed."""
    keep(stack, 90)
    load.publish("old", 7.5, at_s=time.time() - 100 * DAY_S)

    def refused() -> bool:
        return any("old=7.5" in one.get("line", "") for one in letter_file(stack))

    until(refused, 15, "the refused reading is a letter", every_s=0.2)
    listed = json.loads(stack.compose("run", "--rm", "listener", "pinloop", "deadletter", "list", "--json"))
    letter = next(one for one in listed["letters"] if "old=7.5" in one.get("line", ""))
    assert letter["by"] == "main"
    assert "retention" in letter["reason"]
    shown = stack.compose("exec", "-T", "listener", "pinloop", "deadletter", "show", letter["id"])
    assert json.loads(shown)["topic"] == "pinloop/load/reading/old"

    keep(stack, 0)
    said = stack.compose("exec", "-T", "listener", "pinloop", "deadletter", "replay", letter["id"])

    assert said.startswith("1 stored, 0 refused again")
    assert [row[1] for row in stack.query("SELECT old FROM readings WHERE device = 'load'")] == [7.5]
    assert not refused()

"""The end: `docker compose down -v` leaves nothing, and the page of faults says what this run did."""

import os
import time
from pathlib import Path

from tests.stack.compose import ROOT, Stack
from tests.stack.load import Alerts, Load
from tests.stack.table import FaultTable, promises


def test_down_leaves_nothing(stack: Stack, load: Load, alerts: Alerts, times_s: dict[str, float]) -> None:
    """No container, no network, no volume."""
    alerts.end()
    load.end()
    label = f"label=com.docker.compose.project={stack.project}"
    listings = (["ps", "--all"], ["network", "ls"], ["volume", "ls"])
    assert all(stack.docker(*listing, "--quiet", "--filter", label) for listing in listings)
    stack.save_logs(Path(os.environ["PINLOOP_STACK_RUN"]) / "stack.log")

    began_s = time.monotonic()
    stack.compose("down", "--volumes", "--timeout", "10")
    times_s["down"] = time.monotonic() - began_s

    assert [stack.docker(*listing, "--quiet", "--filter", label) for listing in listings] == ["", "", ""]
    assert times_s["down"] < 30


def test_the_page_of_faults_is_current(table: FaultTable) -> None:
    """docs/fault-table.md names the faults that were made, in their order (`make fault-table` writes it)."""
    made = [(row.what, row.done, row.expected) for row in table.rows]

    if os.environ.get("PINLOOP_FAULT_TABLE") != "write":
        assert promises(ROOT / "docs" / "fault-table.md") == made

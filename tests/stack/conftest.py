"""One stack for all of these tests, in the order of their files; run.sh starts them, a plain pytest leaves them out."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.checks import until_pins
from tests.stack.compose import Stack
from tests.stack.load import Alerts, Load, Wishes
from tests.stack.table import SECTION, FaultTable
from tests.support import fault_page
from tests.support.wait import until

RUN = os.environ.get("PINLOOP_STACK_RUN", "")  # the folder of this run, made by run.sh
collect_ignore_glob = [] if RUN else ["test_*.py"]

STANDINS = "Debian 13's mosquitto, InfluxDB 1.6 behind nginx, and Alertmanager in Grafana's place"
_TABLE = FaultTable()
_TIMES_S: dict[str, float] = {}
_BEGAN_S = time.monotonic()


@pytest.fixture(scope="session")
def times_s() -> dict[str, float]:
    """Phase -> how long it took; printed at the end."""
    return _TIMES_S


@pytest.fixture(scope="session")
def table() -> FaultTable:
    """The rows of docs/fault-table.md."""
    return _TABLE


@pytest.fixture(scope="session")
def stack(times_s: dict[str, float]) -> Iterator[Stack]:
    """The running stack; gone at the end, whatever happened."""
    running = Stack(os.environ["PINLOOP_STACK_PROJECT"], Path(RUN) / "images.env")
    before_s = time.monotonic()
    try:
        running.compose("up", "--detach", "--wait", "--wait-timeout", "90")
        times_s["up"] = time.monotonic() - before_s
        yield running
    finally:
        if "down" not in times_s:  # the last test has not run
            running.save_logs(Path(RUN) / "stack.log")
        running.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")


@pytest.fixture(scope="session")
def load(stack: Stack) -> Iterator[Load]:
    """A device that publishes from its first use on."""
    device = Load(stack, stack.add_device("load"))
    until(lambda: len(device.acknowledged_at_s) > 20, 10, "the broker acknowledges readings")
    yield device
    device.end()


@pytest.fixture(scope="session")
def alerts(stack: Stack) -> Iterator[Alerts]:
    """What Alertmanager is told."""
    source = Alerts(stack)
    yield source
    source.end()


@pytest.fixture(scope="session")
def wishes(stack: Stack, load: Load, alerts: Alerts) -> Wishes:
    """What the pins should be; both are off at first."""
    load.level = 10
    until_pins(stack, {"red": 0, "green": 0})
    return Wishes(load, alerts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Leave the times, the table and the counts for run.sh, which prints them after everything has ended."""
    if not RUN:
        return
    stats = terminalreporter.stats
    _TIMES_S["session"] = time.monotonic() - _BEGAN_S
    counts = {name: len(stats.get(name, [])) for name in ("passed", "failed", "error", "skipped")}
    (Path(RUN) / "result.json").write_text(json.dumps({"counts": counts, "times_s": _TIMES_S}))
    if _TABLE.rows:
        upstream = "STACK_IMAGES=upstream" in (Path(RUN) / "images.env").read_text()
        page = _TABLE.page("the published ones" if upstream else STANDINS)
        (Path(RUN) / "fault-table.md").write_text(page)
        if os.environ.get("PINLOOP_FAULT_TABLE") == "write" and not counts["failed"] and not counts["error"]:
            fault_page.put(fault_page.PAGE, SECTION, page)

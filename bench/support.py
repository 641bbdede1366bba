"""What the benchmarks share: percentiles, a real InfluxDB when there is one, the machine's name."""

import contextlib
import os
import platform
import shutil
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import owned
from tests.support.wait import until

__all__ = ["influxd", "machine", "opened", "percentile"]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def opened(url: str) -> bool:
    """Tell whether a URL answers 2xx; raises otherwise."""
    with urllib.request.urlopen(url, timeout=1) as answer:
        return bool(answer.status < 300)


def machine() -> str:
    """Return what this runs on, for the record."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


@contextlib.contextmanager
def influxd(folder: Path) -> Iterator[int]:
    """Run an InfluxDB 1.x with a database `iot` and yield its port; yield 0 where there is none."""
    program = shutil.which("influxd", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if not program:
        yield 0
        return
    folder.mkdir(parents=True)
    port, rpc_port = free_port(), free_port()
    config = folder / "influxdb.conf"
    config.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{rpc_port}"\n[meta]\n  dir = "{folder}/meta"\n'
        f'[data]\n  dir = "{folder}/data"\n  wal-dir = "{folder}/wal"\n[http]\n  bind-address = "127.0.0.1:{port}"\n'
        "  log-enabled = false\n"
    )
    with owned([program, "-config", config], folder / "influxd.out"):
        until(lambda: opened(f"http://127.0.0.1:{port}/ping"), 20, "influxd answers")
        urllib.request.urlopen(f"http://127.0.0.1:{port}/query", b"q=CREATE DATABASE iot").read()
        yield port

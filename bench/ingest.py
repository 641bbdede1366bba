"""From the broker to the store: messages per second and CPU per message, of this listener and others.

A run is a burst of readings of 100 devices over 4 connections; it ends when the
store's own counter has them all (the limit: when a sink that keeps nothing has
them). Every run has its own mosquitto with the limits that are shipped; the
ways take turns, so that a busy moment of the machine meets all of them.
"""

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.ingest_ways import FILTER, Way, batching, naive, ours, telegraf
from bench.load import load_command
from bench.processes import cpu_s, peak_rss_mb, read_bytes
from bench.support import machine, opened
from tests.support.ports import free_port
from tests.support.processes import ROOT, owned
from tests.support.wait import until

CONNECTIONS, WINDOW = 4, 250
FIELDS = 2  # of a reading: what VictoriaMetrics counts as rows
BURST = 100_000
_SHIPPED = re.compile(r"(set_tcp_nodelay|persistence|autosave_interval|max_\w+) .*")
_STALLED_S = 8.0
_COUNTER_S = 1.1  # VictoriaMetrics counts anew once a second
_RESTS_S = 0.2
_WRITE_BYTES = 200  # a write is more, our own question for the counter less


@dataclass(frozen=True)
class Run:
    """What one run showed; CPU in microseconds per message."""

    published: int
    stored: int
    seconds: float
    broker_us: float
    own_us: float
    store_us: float
    rss_mb: float

    @property
    def rate(self) -> float:
        return self.stored / self.seconds


class Bench:
    """The store, and what a run needs.

    Args:
        folder: for everything that the programs write.
        store_pid: the process of VictoriaMetrics.
        store_url: where it is.
    """

    def __init__(self, folder: Path, store_pid: int, store_url: str) -> None:
        self.host = "127.0.0.1"
        self.folder = folder
        self.store_pid = store_pid
        self.store_url = store_url
        self.mqtt_port = free_port()
        self.http_port = free_port()
        self.port = self.mqtt_port  # a broker, as clients of tests see one
        self.load, self.load_language = load_command(folder)

    def rows(self) -> int:
        """Return how many values the store has taken in by line protocol."""
        with urllib.request.urlopen(f"{self.store_url}/metrics", timeout=10) as answer:
            found = re.findall(rb'^vm_rows_inserted_total\{type="influx"[^}]*\} (\d+)', answer.read(), re.MULTILINE)
        return sum(map(int, found))

    @contextlib.contextmanager
    def broker(self) -> Iterator[int]:
        """Run a mosquitto as shipped, but for users and TLS; yield its process id."""
        folder = Path(tempfile.mkdtemp(prefix="broker-", dir=self.folder))
        shipped = [match.group() for match in _SHIPPED.finditer((ROOT / "mosquitto/mosquitto.conf").read_text())]
        user = "user root\n" if os.geteuid() == 0 else ""
        (folder / "mosquitto.conf").write_text(
            f"{user}listener {self.mqtt_port} 127.0.0.1\nallow_anonymous true\npersistence_location {folder}/\n"
            + "\n".join(line for line in shipped if not line.startswith("persistence_"))
        )
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
        with owned([program or "mosquitto", "-c", folder / "mosquitto.conf"], folder / "mosquitto.out") as child:
            until(
                lambda: (
                    subprocess.run([*self.load, *self._blast(0, 1)], input=b"\n", capture_output=True).returncode == 0
                ),
                10,
            )
            yield child.pid

    def _blast(self, qos: int, count: int, first: int | None = None) -> list[str]:
        return [
            "blast",
            *map(str, (self.mqtt_port, qos, count, CONNECTIONS, WINDOW)),
            "plain" if first is None else str(first),
        ]

    @contextlib.contextmanager
    def burst(self, qos: int, count: int, first: int | None = None) -> Iterator[Any]:
        """Make publishers that are connected; yield `go`, which starts them, and `go.done`, which waits for them."""
        command = [*self.load, *self._blast(qos, count, first)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            assert child.stdout
            child.stdout.readline()
            yield child
        finally:
            child.kill()
            child.wait()

    def limit(self, qos: int, count: int) -> Run:
        """Return what the broker can do: a sink takes everything and keeps nothing."""
        command = [*self.load, "sink", *map(str, (self.mqtt_port, qos, count, FILTER))]
        with self.broker() as broker_pid, self.burst(qos, count) as publishers:
            sink = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            assert sink.stdout
            sink.stdout.readline()
            before_s, sink_before_s = cpu_s(broker_pid), cpu_s(sink.pid)
            published, started_s, _ = publishers.communicate("\n")[0].split()
            os.waitid(os.P_PID, sink.pid, os.WEXITED | os.WNOWAIT)  # its CPU time is still to be read
            sink_us = (cpu_s(sink.pid) - sink_before_s) / count * 1e6
            broker_us = (cpu_s(broker_pid) - before_s) / count * 1e6
            received, ended_s = sink.communicate()[0].split()
        seconds = float(ended_s) - float(started_s)
        return Run(int(published), int(received), seconds, broker_us, sink_us, 0, 0)

    def run(self, way: Way, count: int, first: int | None = None) -> Run:
        """Return how one way did."""
        folder = Path(tempfile.mkdtemp(prefix="way-", dir=self.folder))
        with self.broker() as broker_pid, owned(way.command, folder / "out", way.environment, folder) as child:
            before = self.warmed(child, way)
            with self.burst(way.qos, count, first) as publishers:
                pids = (broker_pid, child.pid, self.store_pid)
                cpus_s = [cpu_s(pid) for pid in pids]
                publishers.stdin.write("\n")
                publishers.stdin.flush()
                seen_s = self.wait_rows(before + count * FIELDS)
                used_us = [(cpu_s(pid) - cpu) / count * 1e6 for pid, cpu in zip(pids, cpus_s, strict=True)]
                published, started_s, _ = publishers.communicate()[0].split()
            peak_mb = peak_rss_mb(child.pid)
            stored = (self.rested_rows() - before) // FIELDS  # more than published: something was stored twice
        return Run(int(published), stored, seen_s - float(started_s), *used_us, peak_mb)

    def wait_rows(self, wanted: int) -> float:
        """Wait until the store has taken so many values, or takes no more; return when it took the last, s since 1970.

        Its counter is a second old at most: the time is that at which it last read from a socket.
        """
        has_read, asked_s = read_bytes(self.store_pid), 0.0
        seen_s = time.time()
        while time.time() - seen_s < _STALLED_S:
            time.sleep(0.005)
            had_read, has_read = has_read, read_bytes(self.store_pid)
            if has_read - had_read >= _WRITE_BYTES:
                seen_s = time.time()
            elif time.time() - max(seen_s, asked_s) > _RESTS_S:
                if self.rows() >= wanted:
                    break
                asked_s = time.time()
        return seen_s

    def warmed(self, child: Any, way: Way) -> int:
        """Wait until a way stores what is published, and return the store's counter when it rests."""
        start = self.rows()

        def stores() -> bool:
            assert child.poll() is None, child.text()
            subprocess.run([*self.load, *self._blast(way.qos, 100)], input=b"\n", capture_output=True, cwd=ROOT)
            return self.rows() > start

        until(stores, 30, f"{way.name} stores", 0.2)
        self.wait_rows(start + 1)
        return self.rested_rows()

    def rested_rows(self) -> int:
        """Return the store's counter when nothing is written any more."""
        time.sleep(_COUNTER_S)
        return self.rows()


@contextlib.contextmanager
def victoria_metrics(folder: Path, port: int = 0) -> Iterator[tuple[int, str]]:
    """Run VictoriaMetrics (0: on a free port) and yield (process id, URL)."""
    port = port or free_port()
    program = shutil.which("victoria-metrics")
    if not program:
        raise click.ClickException("victoria-metrics is not on PATH: apt-get install victoria-metrics")
    url = f"http://127.0.0.1:{port}"
    words = [program, f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder}/vm", "-retentionPeriod=100y"]
    with owned(words, folder / "vm.out") as child:
        until(lambda: opened(f"{url}/health"), 20, "VictoriaMetrics answers")
        yield child.pid, url


def measure(repeats: int, count: int, only: str) -> tuple[dict[str, list[Run]], dict[str, Any]]:
    """Return the runs by way, and what they ran on; QoS 1 runs are bursts of BURST messages (or `count`, if less)."""
    runs: dict[str, list[Run]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="pinloop-bench-") as name:
        folder = Path(name)
        with victoria_metrics(folder) as (store_pid, store_url):
            bench = Bench(folder, store_pid, store_url)
            ways = [
                ours(0, bench.mqtt_port, bench.http_port, store_url),
                ours(1, bench.mqtt_port, bench.http_port, store_url),
                naive(bench.mqtt_port, store_url),
                batching(bench.mqtt_port, store_url),
                telegraf(0, bench.mqtt_port, store_url, folder),
                telegraf(1, bench.mqtt_port, store_url, folder),
            ]
            counts = {0: count, 1: min(count, BURST)}
            for turn in range(repeats):
                for qos in (0, 1):
                    runs[f"broker's limit, QoS {qos}"].append(bench.limit(qos, counts[qos]))
                for way in ways:
                    if way is None or only not in f"{way.name}, QoS {way.qos}":
                        continue
                    runs[f"{way.name}, QoS {way.qos}"].append(bench.run(way, int(counts[way.qos] * way.share)))
                print(f"turn {turn + 1} of {repeats}", file=sys.stderr)
            return runs, {"load": bench.load_language}


def median(runs: list[Run], name: str) -> float:
    """Return the median of a figure."""
    return float(statistics.median(getattr(run, name) for run in runs))


def figures(runs: dict[str, list[Run]]) -> dict[str, Any]:
    """Return the ratios that are promised."""
    limits = [runs[f"broker's limit, QoS {qos}"] for qos in (0, 1)]
    own = [runs[f"pinloop listener, QoS {qos}"] for qos in (0, 1)]
    found: dict[str, Any] = {}
    for qos in (0, 1):
        found[f"qos{qos}_vs_limit"] = median(own[qos], "rate") / median(limits[qos], "rate")
        found[f"cpu_vs_broker_qos{qos}"] = median(own[qos], "own_us") / median(own[qos], "broker_us")
    rival = runs.get("Telegraf, QoS 1")
    found["rate_vs_telegraf"] = median(own[1], "rate") / median(rival, "rate") if rival else None
    found["cpu_vs_telegraf"] = median(own[1], "own_us") / median(rival, "own_us") if rival else None
    found["rate_vs_naive"] = median(own[0], "rate") / median(runs["one write per message, QoS 0"], "rate")
    found = {key: value and round(value, 3) for key, value in found.items()}
    worst = max(own[1], key=lambda run: abs(run.published - run.stored))
    found |= {"published": worst.published, "stored": worst.stored}
    found["rss_mb"] = round(max(run.rss_mb for way in own for run in way), 1)
    return found


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.option("--quick", is_flag=True, help="One turn of a fifth of the messages instead of five turns.")
@click.option("--only", default="", help="Only the ways whose names hold this; prints a table without the ratios.")
def main(as_json: bool, quick: bool, only: str) -> None:
    """Measure messages per second and CPU per message from the broker to the store."""
    before = os.getloadavg()[0]
    runs, more = measure(1 if quick else 5, 60_000 if quick else 300_000, only)
    found = (
        ({} if only else figures(runs))
        | more
        | {"machine": machine(), "load_average": f"{before:.1f} to {os.getloadavg()[0]:.1f}"}
    )
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"{found['machine']}; load {found['load_average']}; publishers and sink in {more['load']}")
    columns = ("msg/s", "min", "max", "own us", "broker us", "store us", "RSS MB", "stored")
    click.echo(f"{'medians, CPU per message':<34}" + "".join(f"{title:>11}" for title in columns))
    for name, way in runs.items():
        rates = sorted(run.rate for run in way)
        stored = f"{sum(run.stored for run in way) / sum(run.published for run in way):.4%}"
        middle = [median(way, key) for key in ("own_us", "broker_us", "store_us", "rss_mb")]
        numbers = [f"{value:>11,.0f}" for value in (median(way, "rate"), rates[0], rates[-1])]
        click.echo(f"{name:<34}" + "".join(numbers + [f"{value:>11.2f}" for value in middle]) + f"{stored:>11}")
    for key, value in found.items():
        click.echo(f"{key} {value}")


if __name__ == "__main__":
    main()

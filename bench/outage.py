"""An hour without the store: what does the listener keep in memory meanwhile, and is everything stored once afterwards?

A modest load (QoS 1, numbered readings of 100 devices) goes on all the time. The store is stopped; in the middle of
the outage the listener is killed with SIGKILL; then the store comes back, while the load goes on. The end is when the
spool is empty: then every reading that the broker has acknowledged must be in the store, once.
"""

import contextlib
import json
import os
import re
import signal
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path

import click

from bench.ingest import Bench, victoria_metrics
from bench.ingest_ways import ours
from bench.processes import cpu_s, rss_mb
from bench.support import machine, opened
from tests.support.broker import Client
from tests.support.ports import free_port
from tests.support.processes import Child, owned
from tests.support.wait import until

DEVICES = 100
PER_TICK = 4
UP, BEHIND = 'listener_store_up{store="main"}', 'listener_spool_behind_bytes{store="main"}'
_UP_FIRST_S = 10
_REPLAY_WITHIN_S = 1800.0


class Load(threading.Thread):
    """Publishes numbered readings at a steady rate until `ending` is set.

    Attributes:
        sent: how many messages the broker has acknowledged.
    """

    def __init__(self, bench: Bench, per_s: int) -> None:
        super().__init__(name="load", daemon=True)
        self._client = Client(bench)  # type: ignore[arg-type]  # has the two that it needs
        self._tick_s = PER_TICK / per_s
        self.ending = threading.Event()
        self.sent = 0

    def run(self) -> None:
        """Publish."""
        due_s = time.monotonic()
        while not self.ending.wait(max(0.0, due_s - time.monotonic())):
            due_s += self._tick_s
            for _ in range(PER_TICK):
                device, n = self.sent % DEVICES, self.sent // DEVICES
                payload = f'{{"temperature":{n % 400 / 10},"humidity":40,"_n":{n},"_b":"b1"}}'
                self._client.publish(f"pinloop/bench{device:02}/readings", payload)
                self.sent += 1
        self._client.close()


class Count:
    """What the store holds of the readings; a point that was written again at the same time replaced itself."""

    def __init__(self, url: str, sent: int) -> None:
        urllib.request.urlopen(f"{url}/internal/force_flush", timeout=60).read()
        query = urllib.parse.urlencode({"match[]": "readings_n", "start": 0})
        self.once = self.twice = 0
        with urllib.request.urlopen(f"{url}/api/v1/export?{query}", timeout=300) as lines:
            for line in lines:
                found = json.loads(line)
                times = Counter(n for n, _ in set(zip(found["values"], found["timestamps"], strict=True)))
                self.once += len(times)
                self.twice += sum(times.values()) - len(times)
        self.missing = sent - self.once


def figure(http_port: int, name: str) -> float:
    """Return one of the listener's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/metrics", timeout=30) as answer:
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


@click.command()
@click.option("--minutes", default=60.0, show_default=True, help="How long the store is away.")
@click.option("--rate", default=200, show_default=True, help="Messages a second.")
@click.option("--every-s", default=60.0, show_default=True, help="Seconds between two printed lines.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one object.")
def main(minutes: float, rate: int, every_s: float, as_json: bool) -> None:
    """Stop the store for a while and watch the listener."""
    seen_mb: list[float] = []
    with tempfile.TemporaryDirectory(prefix="pinloop-outage-") as name, contextlib.ExitStack() as stack:
        folder, port = Path(name), free_port()
        store = stack.enter_context(contextlib.ExitStack())
        pid, url = store.enter_context(victoria_metrics(folder, port))
        bench = Bench(folder, pid, url)
        way = ours(1, bench.mqtt_port, bench.http_port, url)
        stack.enter_context(bench.broker())

        def life() -> Child:
            child = stack.enter_context(owned(way.command, folder / "out", way.environment, folder))
            until(lambda: opened(f"http://127.0.0.1:{bench.http_port}/healthz"), 30, "the listener answers")
            return child

        def look(what: str, child: Child) -> None:
            seen_mb.append(rss_mb(child.pid))
            spool_bytes = sum(path.stat().st_size for path in folder.glob("data/spool/*.spool"))
            took_s = time.monotonic() - began_s
            line = f"{took_s / 60:5.1f} min  {what:8}  rss {seen_mb[-1]:5.1f} MB  spool {spool_bytes:11,} B"
            click.echo(f"{line}  sent {load.sent:9,}  cpu {cpu_s(child.pid):6.1f} s", err=as_json)

        def watch(what: str, child: Child, length_s: float) -> None:
            end_s = time.monotonic() + length_s
            while (left_s := end_s - time.monotonic()) > 0:
                time.sleep(min(every_s, left_s))
                look(what, child)

        began_s = time.monotonic()
        child = life()
        until(lambda: opened(f"http://127.0.0.1:{bench.http_port}/readyz"), 30, "the listener is ready", 0.2)
        load = Load(bench, rate)
        load.start()
        stack.callback(load.ending.set)
        watch("store up", child, _UP_FIRST_S)
        store.close()
        stopped_s = time.monotonic()
        watch("outage", child, minutes * 30)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
        child = life()
        look("killed", child)
        watch("outage", child, minutes * 30)
        spooled_bytes = figure(bench.http_port, "listener_spool_bytes")
        away_s = time.monotonic() - stopped_s
        waiting = load.sent
        store.enter_context(victoria_metrics(folder, port))
        back_s = next_s = time.monotonic()
        while time.monotonic() < back_s + _REPLAY_WITHIN_S:
            if figure(bench.http_port, UP) and not figure(bench.http_port, BEHIND):
                break
            if time.monotonic() > next_s:
                next_s += min(every_s, 5)
                look("replay", child)
            time.sleep(0.1)
        replay_s = time.monotonic() - back_s
        look("replayed", child)
        watch("store up", child, _UP_FIRST_S)
        load.ending.set()
        load.join(30)
        with contextlib.suppress(AssertionError):
            until(lambda: Count(url, load.sent).missing == 0, 30, "all is stored", 2)
        count = Count(url, load.sent)
    found = {
        "away_s": round(away_s),
        "sent": load.sent,
        "stored": count.once,
        "missing": count.missing,
        "twice": count.twice,
        "spooled_mb": round(spooled_bytes / 1e6, 1),
        "replay_s": round(replay_s, 1),
        "replayed_messages": waiting,
        "rss_mb_first": round(seen_mb[0], 1),
        "rss_mb_most": round(max(seen_mb), 1),
        "rss_mb_last": round(seen_mb[-1], 1),
        "machine": machine(),
    }
    click.echo(json.dumps(found) if as_json else "\n".join(f"{key} {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()

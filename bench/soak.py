"""Five minutes of bursts through one listener: does it keep its memory, its files, and every message?

Bursts of QoS 1, numbered, so that a redelivery is recognised; in every fifth the
broker ends the listener's connection, by somebody with its name who acknowledges nothing: what a whole client took
and acknowledged in that moment would be missing, and nobody's loss. Memory and open files are read after each burst.
"""

import json
import tempfile
import time
from itertools import count
from pathlib import Path

import click

from bench.ingest import FIELDS, Bench, victoria_metrics
from bench.ingest_ways import ours
from bench.processes import open_files, rss_mb
from bench.support import machine
from tests.support.broker import take_over
from tests.support.processes import owned

BURST = 20_000
DEVICES = 100  # of bench/load.c
_NUMBERED_FIELDS = FIELDS + 2  # n and boot


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.option("--quick", is_flag=True, help="Twenty seconds instead of five minutes.")
def main(as_json: bool, quick: bool) -> None:
    """Watch the listener's memory and files under bursts."""
    length_s = 20 if quick else 300
    memory: list[float] = []
    files: list[int] = []
    published = rows = 0
    with tempfile.TemporaryDirectory(prefix="pinloop-soak-") as name, victoria_metrics(Path(name)) as (pid, url):
        bench = Bench(Path(name), pid, url)
        way = ours(1, bench.mqtt_port, bench.http_port, url)
        with bench.broker(), owned(way.command, bench.folder / "out", way.environment, bench.folder) as child:
            before = bench.warmed(child, way)
            end_s = time.monotonic() + length_s
            for number in count():
                if time.monotonic() > end_s:
                    break
                with bench.burst(1, BURST, number * BURST // DEVICES) as publishers:
                    publishers.stdin.write("\n")
                    publishers.stdin.flush()
                    if number % 5 == 4:  # someone else with its name: the broker ends the listener's connection
                        take_over(bench.host, bench.port, "pinloop-listener")
                    rows += BURST * _NUMBERED_FIELDS
                    bench.wait_rows(before + rows)
                    published += int((publishers.stdout.readline().split() or [0])[0])  # acknowledged by the broker
                memory.append(rss_mb(child.pid))
                files.append(open_files(child.pid))
            stored = bench.rested_rows() - before
    settled = memory[len(memory) // 5 :]
    third = max(1, len(settled) // 3)
    found = {
        "seconds": length_s,
        "published": published,
        "rows_wanted": rows,
        "rows_stored": stored,
        "rss_mb_first_third": round(sum(settled[:third]) / third, 1),
        "rss_mb_last_third": round(sum(settled[-third:]) / third, 1),
        "rss_mb_most": round(max(memory), 1),
        "open_files_first": files[0],
        "open_files_last": files[-1],
        "machine": machine(),
    }
    click.echo(json.dumps(found) if as_json else "\n".join(f"{key} {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()

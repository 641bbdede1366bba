"""Reaction time: reading published -> pin set and reported, against mosquitto, beside the seed's way in the same run.

A turn is one reading that crosses the rule's threshold, up or down, and ends
when the device has reported its pin. The readings are stored meanwhile. Blocks of
both ways alternate, so that a busy moment of the machine meets both.
"""

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import paho.mqtt.client as paho

from bench.support import influxd, machine, opened, percentile
from contract.commands import decode_state
from contract.readings import encode_reading
from firmware.sim import create_device
from pinloop.local.layout import Layout, Ports
from pinloop.local.run import running_loop
from tests.support.broker import Client, running_broker
from tests.support.ports import free_port
from tests.support.processes import owned
from tests.support.wait import until

RULES = """\
version: 1
rules:
  - name: too-bright
    when: bench.level > 80
    clear: bench.level < 70
    then: [lights/red = 1]
"""
HIGH, LOW = 95, 5


class Reports:
    """Listens to the states that the device reports on a topic."""

    def __init__(self, watcher: Client, topic: str) -> None:
        self._came = threading.Event()
        watcher.collect(topic).until(lambda _: True, 10)  # the device is there
        watcher.client.on_message = self._message
        self._wanted = -1
        self._at_s = 0.0

    def expect(self, value: int) -> None:
        """Wait for this value from now on."""
        self._wanted = value
        self._came.clear()

    def _message(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        """Take a reported state; runs on the network thread."""
        now_s = time.perf_counter()
        if not message.retain and decode_state(bytes(message.payload)).value == self._wanted:
            self._at_s = now_s
            self._came.set()

    def wait(self, timeout_s: float) -> float:
        """Return when the expected value came, in seconds of the performance counter."""
        if not self._came.wait(timeout_s):
            raise TimeoutError(f"the device did not report {self._wanted} within {timeout_s} s")
        return self._at_s


class Way:
    """One way of closing the loop, ready to be turned.

    Args:
        publish: publishes a reading of (value, number).
        reports: hears what the device reports.
    """

    def __init__(self, publish: Callable[[int, int], None], reports: Reports) -> None:
        self._publish = publish
        self._reports = reports
        self.turns = 0

    def turn(self, timeout_s: float = 5.0) -> float:
        """Cross the threshold once and return the seconds until the device reported the other value.

        Raises:
            TimeoutError: it did not.
        """
        self.turns += 1
        up = self.turns % 2 == 1
        self._reports.expect(1 if up else 0)
        started_s = time.perf_counter()
        self._publish(HIGH if up else LOW, self.turns)
        return self._reports.wait(timeout_s) - started_s


@contextlib.contextmanager
def our_way(folder: Path) -> Iterator[Way]:
    """Run Pinloop's local mode, with one more board, which is this process."""
    layout = Layout(folder / "data", folder / "rules.yml")
    folder.mkdir()
    layout.rules.write_text(RULES)
    ports = Ports(*(free_port() for _ in range(5)))
    with running_loop(layout, ports, own_devices=["bench"]) as loop:
        for runner in loop.supervisor.runners:
            if runner.part.ready_url:
                until(lambda url=runner.part.ready_url: opened(url), 20, f"{runner.part.name} is ready")
        here: Any = SimpleNamespace(host="127.0.0.1", port=ports.mqtt)

        def client(user: str) -> Client:
            return Client(here, f"bench-{user}", user, layout.password(user).read_text().strip())

        boot = f"b{time.time_ns() % 10**6}"
        with client("bench") as board, client("svc.hub") as watcher:
            reports = Reports(watcher, "pinloop/lights/pin/red/state")

            def publish(value: int, n: int) -> None:
                board.client.publish("pinloop/bench/reading/level", encode_reading(value, n, boot), 1)

            yield Way(publish, reports)


@contextlib.contextmanager
def seed_way(folder: Path) -> Iterator[Way]:
    """Run the seed's listener and webhook; the device is our firmware with the seed-compatible profile."""
    webhook_port = free_port()
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(running_broker(folder / "broker", "allow_anonymous true\nset_tcp_nodelay false"))
        influx_port = stack.enter_context(influxd(folder / "influx"))
        create_device(folder / "lights", "lights", "seed-lights", {"host": broker.host, "port": broker.port})
        for name, words in {
            "webhook": ["bench.seed_way", "webhook", broker.port, webhook_port],
            "listener": ["bench.seed_way", "listener", broker.port, webhook_port, influx_port],
            "device": ["firmware.sim", "run", folder / "lights"],
        }.items():
            stack.enter_context(owned(["python", "-m", *map(str, words)], folder / f"{name}.out"))
        watcher = stack.enter_context(Client(broker, "watcher"))
        reports = Reports(watcher, "pinloop/lights/pin/red/state")
        way = Way(lambda value, _n: watcher.client.publish("/pot", str(value)), reports)
        until(lambda: way.turn(1.0) and way.turns % 2 == 0, 20, "the seed's listener and webhook are up")
        yield way


def measure(turns: int) -> dict[str, Any]:
    """Return the figures of so many turns each way, in milliseconds."""
    block = max(2, turns // 5)
    ours: list[float] = []
    seeds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="pinloop-bench-") as name:
        folder = Path(name)
        with our_way(folder / "ours") as our, seed_way(folder / "seed") as seed:
            for _ in range(10):
                our.turn()
            while len(ours) < turns:
                for way, times in ((our, ours), (seed, seeds)):
                    times += [way.turn() * 1000 for _ in range(min(block, turns - len(times)))]
    figures: dict[str, Any] = {f"p{p}_ms": round(percentile(ours, p / 100), 2) for p in (50, 95, 99)}
    figures |= {f"seed_p{p}_ms": round(percentile(seeds, p / 100), 2) for p in (50, 95, 99)}
    return {**figures, "turns": turns, "machine": machine()}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.option("--quick", is_flag=True, help="50 turns instead of 200.")
def main(as_json: bool, quick: bool) -> None:
    """Measure the time from a published reading to a reported pin, and that of the seed's way."""
    figures = measure(50 if quick else 200)
    if as_json:
        click.echo(json.dumps(figures))
        return
    click.echo(f"{figures['turns']} turns each, alternating; {figures['machine']}")
    click.echo(f"{'reading -> pin reported':<26}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
    for prefix, title in (("", "Pinloop, stream rule"), ("seed_", "the seed's way")):
        click.echo(f"{title:<26}" + "".join(f"{figures[f'{prefix}p{p}_ms']:>9.2f}" for p in (50, 95, 99)))
    click.echo(f"ratio of the medians: {figures['seed_p50_ms'] / figures['p50_ms']:.1f}")


if __name__ == "__main__":
    main()

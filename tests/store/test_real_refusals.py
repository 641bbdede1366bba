"""The delivery half into a real InfluxDB 1.6 and a real VictoriaMetrics: what they refuse, keep, and get twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from listener.batch import Batch, Kept
from listener.dead import DeadLetters
from listener.delivery import Delivery
from listener.spool import Spool
from store.influx import InfluxStore
from store.interface import Store
from store.points import Point
from store.sqlite import SqliteStore
from tests.support.ports import free_port
from tests.support.processes import Child, owned
from tests.support.requirements import need
from tests.support.wait import until

T_NS = 1763690000 * 10**9


def point(n: int, **fields: float | str) -> Point:
    """Return a numbered reading; its sensor is `pot` unless it is told."""
    return Point("readings", (("device", "pot"),), {**(fields or {"pot": float(n)}), "n": n, "boot": "k3f9"}, T_NS + n)


def batch(points: list[Point]) -> Batch:
    """Return points that each came in a message of its own."""
    return Batch(points, list(range(len(points))), [Kept("t", b"%d" % i, T_NS) for i in range(len(points))])


def delivering(store: Store, folder: Path, second: dict[str, Any] | None = None) -> Delivery:
    """Return a delivery at work."""
    delivery = Delivery(
        store,
        Spool(folder / "spool", 1 << 20, 3600),
        DeadLetters(folder / "dead.jsonl"),
        {name: (sink, 0) for name, sink in (second or {}).items()},
        batch_max_points=1000,
        replay_points_per_s=10**6,
    )
    delivery.start()
    list(delivery.news())
    return delivery


def test_influxd_refuses_one_point_and_keeps_the_others(influx: Any, bucket: str, tmp_path: Path) -> None:
    """A conflict of types among 200 lines, in the middle: one letter with its message, 199 points, each once."""
    store = influx.store(bucket)
    store.write([Point("readings", (("device", "other"),), {"odd": "text"}, T_NS)])
    delivery = delivering(store, tmp_path)
    points = [point(n, odd=1.0) if n == 77 else point(n) for n in range(200)]
    for _ in range(2):
        delivery.deliver(batch(points))
    delivery.close()
    letters = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert [letter["payload"] for letter in letters] == ["77", "77"]
    assert "field type conflict" in letters[0]["reason"]
    assert sorted(n for _, _, n, _ in store.identities(1000)) == [n for n in range(200) if n != 77]
    assert (
        json.loads(influx.ask('SELECT count("pot") FROM readings', bucket))["results"][0]["series"][0]["values"][0][1]
        == 199
    )


class Victoria:
    """A VictoriaMetrics that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.program = need("victoria-metrics", "apt-get install victoria-metrics")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder

    def running(self) -> Any:
        """Run it for the length of a `with` block."""
        return owned(
            [self.program, f"-storageDataPath={self.folder / 'vm'}", f"-httpListenAddr=127.0.0.1:{self.port}",
             "-retentionPeriod=100y", "-search.latencyOffset=0s", "-memory.allowedBytes=64MB"],
            self.folder / "vm.out",
        )  # fmt: skip

    def answers(self) -> bool:
        """Tell whether it is there."""
        return urllib3.request("GET", f"{self.url}/health", retries=False).status == 200

    def values(self, name: str) -> list[float]:
        """Return all values of a series."""
        urllib3.request("GET", f"{self.url}/internal/force_flush")
        said = urllib3.request("GET", f"{self.url}/api/v1/export", fields={"match[]": name}).data
        return sorted(value for line in said.splitlines() for value in json.loads(line)["values"])


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[tuple[Victoria, Child]]:
    """A VictoriaMetrics that runs."""
    made = Victoria(tmp_path)
    with made.running() as child:
        until(made.answers, 15, "VictoriaMetrics answers")
        yield made, child


def test_victoria_metrics_gets_everything_though_it_was_away(victoria: tuple[Victoria, Child], tmp_path: Path) -> None:
    """As a second store: it takes line protocol and knows no InfluxQL. Stopped, and started again."""
    server, child = victoria
    main = SqliteStore(tmp_path / "store.db")
    delivery = delivering(main, tmp_path, {"vm": InfluxStore(server.url, "o", "b", "")})
    # VictoriaMetrics resolves milliseconds.
    points = [Point("readings", (("device", "pot"),), {"pot": float(n)}, T_NS + n * 10**6) for n in range(400)]
    delivery.deliver(batch(points[:200]))
    until(lambda: server.values("readings_pot") == list(range(200)), 15, every_s=0.1)
    child.end(10)
    delivery.deliver(batch(points[200:300]))
    with server.running():
        until(server.answers, 15)
        delivery.deliver(batch(points[300:]))
        until(lambda: server.values("readings_pot") == list(range(400)), 20, every_s=0.1)
    delivery.close()
    main.close()
    assert not (tmp_path / "dead.jsonl").exists()

"""What the tests of the delivery half share: points, a store that can be made to fail, deliveries in one folder."""

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from listener.batch import Batch, Kept
from listener.dead import DeadLetters
from listener.delivery import Delivery
from listener.spool import Spool
from store import Point, StoreError
from store.influx import InfluxStore
from tests.support.influx_standin import StandIn

T_NS = 1763690000 * 10**9


def point(n: int, sensor: str = "pot", value: float | str = 1.0) -> Point:
    """Return a numbered reading."""
    return Point("readings", (("device", "pot"),), {sensor: value, "n": n, "boot": "k3f9"}, T_NS + n)


def batch(*points: Point) -> Batch:
    """Return a batch of points that each came in a message of its own."""
    messages = [Kept("pinloop/pot/readings", b"message %d" % i, T_NS) for i in range(len(points))]
    return Batch(list(points), list(range(len(points))), messages)


class Memory:
    """A store in memory that can be made to fail, and that says what it was given."""

    def __init__(self) -> None:
        self.fails: StoreError | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.points: dict[int, Point] = {}
        self.order: list[int] = []
        self.most = 0

    def write(self, points: Sequence[Point]) -> None:
        self.go_on.wait()
        if self.fails:
            raise self.fails
        self.most = max(self.most, len(points))
        for one in points:
            self.points[one.ts_ns] = one
            self.order.append(int(one.fields["n"]))

    def identities(self, most: int) -> list[tuple[str, str, int, str]]:
        if self.fails:
            raise self.fails
        newest = sorted(self.points)[-most:]
        return [("pot", "k3f9", int(self.points[ts_ns].fields["n"]), "pot") for ts_ns in newest]

    def devices(self) -> list[str]:
        if self.fails:
            raise self.fails
        return []

    def close(self) -> None:
        pass


DOWN = StoreError("down")


class Bench:
    """Makes deliveries in one folder, as restarts of one listener do."""

    def __init__(self, folder: Path) -> None:
        self.spool_path = folder / "spool"
        self.dead_path = folder / "dead.jsonl"
        self.running: list[Delivery] = []

    def start(
        self,
        store: Any,
        second: dict[str, Any] | None = None,
        max_bytes: int = 1 << 20,
        replay_points_per_s: float = 10**6,
        news: bool = True,
    ) -> Delivery:
        """Return a delivery that is at work."""
        delivery = Delivery(
            store,
            Spool(self.spool_path, max_bytes, 3600),
            DeadLetters(self.dead_path),
            {name: (sink, 0) for name, sink in (second or {}).items()},
            batch_max_points=100,
            replay_points_per_s=replay_points_per_s,
        )
        delivery.start()
        if news:
            list(delivery.news())
        self.running.append(delivery)
        return delivery

    def dead(self) -> list[dict[str, Any]]:
        """Return the dead letters."""
        return [json.loads(text) for text in self.dead_path.read_text().splitlines()] if self.dead_path.exists() else []


def influx(server: StandIn) -> InfluxStore:
    """Return a store that writes there."""
    return InfluxStore(server.url, "o", "b", "t")


def figure(name: str, **labels: str) -> float:
    """Return a metric's value."""
    return REGISTRY.get_sample_value(name, labels) or 0


def benched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Return a bench whose deliveries wait briefly and have ended when the test has; the body of a fixture."""
    monkeypatch.setattr("listener.backoff._LONGEST_S", 0.02)
    made = Bench(folder)
    yield made
    for delivery in made.running:
        delivery.close()

"""The figures that a bench prints with --json have the names that were asked for, and follow from what was measured."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench import ingest, webhook

# Each way of bench.ingest, with messages per second, its own CPU and the broker's in microseconds per message.
_RUNS = {
    "broker's limit, QoS 0": (100_000, 1.0, 5.0),
    "broker's limit, QoS 1": (50_000, 2.0, 10.0),
    "pinloop listener, QoS 0": (90_000, 4.0, 5.0),
    "pinloop listener, QoS 1": (40_000, 8.0, 10.0),
    "one write per message, QoS 0": (2_000, 99.0, 9.0),
    "Telegraf, QoS 1": (20_000, 16.0, 9.0),
}


def runs(*, lost: int = 0) -> dict[str, list[ingest.Run]]:
    """Return five runs of each way."""
    return {
        name: [ingest.Run(rate, rate - lost, 1.0, broker_us, own_us, 0.0, 52.04) for _ in range(5)]
        for name, (rate, own_us, broker_us) in _RUNS.items()
    }


def test_ingest_says_what_was_asked_for() -> None:
    """The ratios, and the count and memory of the worst run."""
    assert ingest.figures(runs()) == {
        "qos0_vs_limit": 0.9,
        "qos1_vs_limit": 0.8,
        "cpu_vs_broker_qos0": 0.8,
        "cpu_vs_broker_qos1": 0.8,
        "rate_vs_telegraf": 2.0,
        "cpu_vs_telegraf": 0.5,
        "rate_vs_naive": 45.0,
        "published": 40_000,
        "stored": 40_000,
        "rss_mb": 52.0,
    }
    assert ingest.figures(runs(lost=7))["stored"] == 39_993


def test_without_telegraf_its_figures_are_null() -> None:
    """It is not on every machine."""
    found = ingest.figures({name: way for name, way in runs().items() if "Telegraf" not in name})
    assert (found["rate_vs_telegraf"], found["cpu_vs_telegraf"]) == (None, None)


class Way:
    """A webhook that is measured in no time."""

    def __init__(self, latency_ms: float, rate: float, cpu_ms: float) -> None:
        self.latencies_ms: dict[int, list[float]] = {one: [] for one in webhook.RATES}
        self.rates: list[float] = []
        self.cpu_ms: list[float] = []
        self._measured = (latency_ms, rate, cpu_ms)

    def closed_loop(self, _seconds: float) -> None:
        self.rates.append(self._measured[1])
        self.cpu_ms.append(self._measured[2])

    def open_loop(self, rate: int, _seconds: float) -> None:
        self.latencies_ms[rate] += [self._measured[0]] * 98 + [self._measured[0] * 10] * 2

    def many_at_once(self, alerts: int) -> float:
        return alerts / 10


def test_the_webhooks_bench_says_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object, whose ratios are ours by the baseline's."""

    @contextlib.contextmanager
    def both_ways(_folder: Path, _journal: bool) -> Iterator[tuple[Way, Way]]:
        yield Way(2.0, 900.0, 0.5), Way(4.0, 300.0, 2.0)

    monkeypatch.setattr(webhook, "both_ways", both_ways)
    printed = CliRunner().invoke(webhook.main, ["--json", "--quick"])
    found: dict[str, Any] = json.loads(printed.output)
    asked = {
        "p50_ms_at_100": 2.0,
        "p99_ms_at_100": 20.0,
        "max_rate": 900,
        "rate_vs_baseline": 3.0,
        "cpu_vs_baseline": 0.25,
        "thousand_alerts_ms": 100.0,
    }
    assert {key: found[key] for key in asked} == asked
    assert {f"p99_ms_at_{rate}" for rate in (10, 100, 500)} <= found.keys()

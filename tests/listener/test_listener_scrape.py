"""The services' figures: what is stored of /metrics, and what happens when one is away."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from listener.figures import figures
from listener.scrape import Scraper, targets
from service.errors import SettingsError
from store import Point, StoreError
from store.sqlite import SqliteStore
from tests.support.broker import Broker
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.wait import until

NOW_NS = 1763690000 * 10**9


def metrics_text() -> str:
    """Return what a service with three metrics says."""
    registry = CollectorRegistry()
    Counter("webhook_alerts_total", "x", ["dialect", "outcome"], registry=registry).labels("grafana", "claimed").inc(3)
    Gauge("webhook_claims", "x", registry=registry).set(2)
    Gauge("webhook_odd", "x", registry=registry).set(float("nan"))
    Histogram("webhook_report_seconds", "x", registry=registry).observe(0.25)
    return prometheus_client.generate_latest(registry).decode()


def test_names_become_fields_and_labels_tags() -> None:
    """Without buckets, times of creation and what is no number."""
    own = ("service", "webhook")
    assert figures("webhook", metrics_text(), NOW_NS) == [
        Point(
            "services",
            (own,),
            {"up": 1, "webhook_claims": 2, "webhook_report_seconds_count": 1, "webhook_report_seconds_sum": 0.25},
            NOW_NS,
        ),
        Point("services", (own, ("dialect", "grafana"), ("outcome", "claimed")), {"webhook_alerts_total": 3}, NOW_NS),
    ]


@pytest.mark.parametrize("text", ["<html>no</html>", "a{", 'a{b="c} 1', "a b c"])
def test_what_is_no_metrics_text_is_a_value_error(text: str) -> None:
    """Another program may answer on that port."""
    with pytest.raises(ValueError, match="is not Prometheus text"):
        figures("webhook", text, NOW_NS)


@pytest.mark.parametrize("text", ["webhook", "webhook=ftp://a", "Web=http://a", "listener=http://a", "=http://a"])
def test_a_malformed_service_is_a_settings_error_that_quotes_it(text: str) -> None:
    """Found before anything is asked; the listener's own figures need no address."""
    with pytest.raises(SettingsError, match=text):
        targets(f"rules=http://rules:8083/, {text}")


def test_a_service_that_is_away_does_not_hide_the_others(
    spawn: Callable[..., Child], broker: Broker, tmp_path: Path
) -> None:
    """It is down, they are up, and it is up again when it comes back; a real `rules` stands for both."""
    (tmp_path / "rules.yml").write_text("version: 1\nrules: []\n")
    ports = [free_port(), free_port()]

    def run(number: int) -> Child:
        return spawn(
            ["python", "-m", "rules"],
            env={
                **broker.environment(),
                "PINLOOP_HTTP_PORT": str(ports[number]),
                "PINLOOP_RULES_PATH": str(tmp_path / "rules.yml"),
                "PINLOOP_STATE_PATH": str(tmp_path / f"state-{number}.db"),
                "PINLOOP_MQTT_PREFIX": f"p{number}",
            },
            name=f"rules-{number}",
        )

    run(0)
    services = f"here=http://127.0.0.1:{ports[0]},gone=http://127.0.0.1:{ports[1]}"
    store = SqliteStore(tmp_path / "store.db")
    spawn(
        ["python", "-m", "listener"],
        env={
            **broker.environment(),
            "PINLOOP_HTTP_PORT": "0",
            "PINLOOP_STORE_URL": f"sqlite:{tmp_path / 'store.db'}",
            "PINLOOP_SCRAPE": services,
            "PINLOOP_SCRAPE_EVERY_S": "1",
            "PINLOOP_SPOOL_PATH": str(tmp_path / "spool"),
        },
        name="listener",
    )

    until(lambda: [newest(tmp_path, name) for name in ("listener", "here", "gone")] == [1, 1, 0], 15)
    run(1)
    until(lambda: newest(tmp_path, "gone") == 1, 15)
    store.close()


def newest(folder: Path, service: str) -> float | None:
    """Return the newest `up` of a service in the store's file."""
    with sqlite3.connect(folder / "store.db") as connection:
        sql = """SELECT value FROM samples JOIN series ON id = series
                 WHERE measurement = 'services' AND field = 'up' AND tags = ? ORDER BY ts_ns DESC LIMIT 1"""
        row = connection.execute(sql, (f"service={service}",)).fetchone()
    return None if row is None else float(row[0])


class Failing:
    """A store that is away."""

    def write(self, points: list[Point]) -> None:
        """Fail."""
        raise StoreError(f"away, {len(points)} points")


def test_a_store_that_is_away_loses_figures_and_nothing_else() -> None:
    """They come again; only readings are held."""
    Scraper(f"gone=http://127.0.0.1:{free_port()}", 15, Failing()).look()
    text = prometheus_client.generate_latest().decode()
    assert 'listener_scrapes_total{outcome="lost"}' in text

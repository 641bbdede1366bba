"""Datadog's intake, stood in for: what is sent, and what its answers mean."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from store.datadog import DatadogSink
from store.errors import StoreError
from store.points import Point
from store.retry_after import retry_after_s
from tests.support.ports import free_port

T_S = 1763690000
POT = (("device", "pot"),)


class Intake:
    """What came: (path, headers, body unpacked); and what to answer."""

    def __init__(self) -> None:
        self.came: list[tuple[str, Any, Any]] = []
        self.answer: tuple[int, dict[str, str]] = (202, {})
        self.sink: DatadogSink


@pytest.fixture
def intake() -> Iterator[Intake]:
    """An intake that runs, and a sink that writes to it."""
    found = Intake()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.came.append((self.path, self.headers, json.loads(gzip.decompress(body))))
            status, headers = found.answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b'{"errors":["because of this"]}')

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    found.sink = DatadogSink(f"http://127.0.0.1:{server.server_port}", "the-key")
    yield found
    found.sink.close()
    server.shutdown()
    server.server_close()


def test_points_become_series_of_gauges(intake: Intake) -> None:
    """One series a metric and set of tags; no text, no sample numbers."""
    intake.sink.write(
        [
            Point("readings", POT, {"pot": 61.5, "n": 17, "boot": "k3f9"}, T_S * 10**9),
            Point("readings", POT, {"pot": 62, "name": "text"}, T_S * 10**9 + 1_999_999_999),
            Point("pins", (("device", "lights"), ("pin", "red")), {"desired": 1.0}, T_S * 10**9),
        ]
    )
    ((path, headers, body),) = intake.came
    assert (path, headers["DD-API-KEY"], headers["Content-Type"]) == ("/api/v2/series", "the-key", "application/json")
    assert body == {
        "series": [
            {
                "metric": "pinloop.readings.pot",
                "type": 3,
                "points": [{"timestamp": T_S, "value": 61.5}, {"timestamp": T_S + 1, "value": 62.0}],
                "tags": ["device:pot"],
            },
            {
                "metric": "pinloop.pins.desired",
                "type": 3,
                "points": [{"timestamp": T_S, "value": 1.0}],
                "tags": ["device:lights", "pin:red"],
            },
        ]
    }


def test_points_without_numbers_are_not_sent(intake: Intake) -> None:
    """An empty series would be refused."""
    intake.sink.write([Point("readings", POT, {"name": "text"}, 1)])
    assert intake.came == []


@pytest.mark.parametrize(
    ("status", "permanent"), [(400, True), (413, True), (403, False), (408, False), (429, False), (503, False)]
)
def test_the_status_tells_permanent_from_transient(intake: Intake, status: int, permanent: bool) -> None:
    """A wrong key is mended by people, a limit by waiting."""
    intake.answer = (status, {"X-RateLimit-Reset": "7"})
    with pytest.raises(StoreError, match="because of this") as caught:
        intake.sink.write([Point("readings", POT, {"pot": 1}, 1)])
    assert (caught.value.permanent, caught.value.status, caught.value.retry_after_s) == (permanent, status, 7)


def test_what_is_too_large_is_refused_here(intake: Intake) -> None:
    """So that it is halved: the intake takes 500 kB, packed."""
    import random

    points = [Point("readings", ((f"device{n}", "x"),), {"pot": random.random()}, n) for n in range(60_000)]
    with pytest.raises(StoreError, match="too large") as caught:
        intake.sink.write(points)
    assert (caught.value.permanent, caught.value.status) == (True, 413)
    assert intake.came == []


def test_a_site_is_an_address_and_one_that_is_away_is_transient() -> None:
    """As Datadog writes its sites."""
    assert DatadogSink("datadoghq.eu", "k")._url == "https://api.datadoghq.eu/api/v2/series"
    with pytest.raises(StoreError) as caught:
        DatadogSink(f"http://127.0.0.1:{free_port()}", "k").write([Point("readings", POT, {"pot": 1}, 1)])
    assert not caught.value.permanent


def test_retry_after_is_seconds_or_a_date() -> None:
    """Nonsense is no wish."""
    assert retry_after_s({"Retry-After": "120"}) == 120
    assert retry_after_s({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert 3.9e8 < retry_after_s({"Retry-After": "Fri, 31 Dec 2099 23:59:59 GMT"}) < 3e9
    assert [retry_after_s({"Retry-After": text}) for text in ("", "soon", "-1", "１")] == [0] * 4
    assert retry_after_s({}) == 0

"""How much memory the listener takes for a backlog of large messages."""

import json
import os
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.processes import peak_rss_mb
from tests.support.broker import Broker, Client
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.wait import until

MOST_MB = 64
LARGE, WIDE = 600, 5000


@pytest.mark.long
def test_a_backlog_of_large_messages_does_not_fill_the_memory(
    spawn: Callable[..., Child], broker: Broker, client: Client, tmp_path: Path
) -> None:
    """36 MB of messages that cannot be read and 5 MB with 64 sensors each, which are ten times that as points."""
    port = free_port()

    def start(name: str) -> Child:
        child = spawn(
            ["python", "-m", "listener"],
            env={
                **broker.environment(),
                "PINLOOP_LISTENER_HTTP_PORT": str(port),
                "PINLOOP_STORE_URL": "http://127.0.0.1:9",  # nobody there: all goes to the spool
                "PINLOOP_LISTENER_SPOOL_PATH": str(tmp_path / "spool"),
                "PINLOOP_LISTENER_DEAD_LETTER_PATH": str(tmp_path / "dead.jsonl"),
            },
            name=name,
        )
        until(lambda: "broker connected" in child.text(), 20, "the listener connects")
        return child

    def figure(name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    start("first").end()
    for _ in range(LARGE):
        client.client.publish("pinloop/pot/readings", os.urandom(30_000).hex(), 1)
    wide = {f"sensor_{number:02}": number + 0.5 for number in range(64)}
    for n in range(WIDE):
        client.client.publish("pinloop/pot/readings", json.dumps({**wide, "_n": n, "_b": "k3f9"}), 1)
    client.publish("pinloop/pot/status", "online")
    listener = start("second")
    until(lambda: figure("listener_spooled_points_total") >= WIDE and not figure("listener_queue_bytes"), 60, "", 0.1)
    peak_mb = peak_rss_mb(listener.pid)
    print(f"at most {peak_mb:.1f} MB")
    assert peak_mb < MOST_MB

"""The listener as a process, from a real mosquitto into a real InfluxDB."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3

from contract.readings import encode_reading
from store.points import Point
from tests.support.broker import Broker, Client
from tests.support.processes import Child
from tests.support.wait import until


def hears(listener: Child) -> bool:
    """Tell whether its subscriptions stand: what is published before is not for it."""
    http = json.loads(listener.text().splitlines()[0])["http"]
    return 'mqtt_connected{session="listener"} 1.0' in urllib3.request("GET", f"{http}/metrics").data.decode()


def test_readings_reach_influxdb_and_the_one_that_it_refuses_becomes_a_dead_letter(
    spawn: Callable[..., Child], broker: Broker, client: Client, influx: Any, bucket: str, tmp_path: Path
) -> None:
    """Started with a wrong token it spools; with the right one every reading arrives, but for the conflict."""
    store = influx.store(bucket)
    dead_path = tmp_path / "dead.jsonl"
    environment = {
        **broker.environment(),
        "PINLOOP_HTTP_PORT": "0",
        "PINLOOP_STORE_URL": influx.gateway,
        "PINLOOP_STORE_BUCKET": bucket,
        "PINLOOP_STORE_TOKEN": "wrong",
        "PINLOOP_LISTENER_DEAD_LETTER_PATH": str(dead_path),
        "PINLOOP_SPOOL_PATH": str(tmp_path / "spool"),
    }
    t_s = 1763690000.0
    store.write([Point("readings", (("device", "other"),), {"odd": "text"}, round(t_s * 1e9))])

    waiting = spawn(["python", "-m", "listener"], env=environment)
    until(lambda: "store fails" in waiting.text() and hears(waiting), 10)
    for n in range(50):
        client.publish("pinloop/pot/readings", json.dumps({"pot": n, "_n": n, "_b": "k3f9", "_t": t_s + n}))
    client.publish("pinloop/pot/reading/odd", encode_reading(1, 50, "k3f9", t_s + 50))
    client.publish("pinloop/pot/reading/pot", encode_reading(51, 51, "k3f9", t_s + 51))
    assert waiting.end(10) == 0
    assert store.latest("pot") == {}

    spawn(["python", "-m", "listener"], env={**environment, "PINLOOP_STORE_TOKEN": influx.token})
    until(lambda: sorted(n for _, _, n, _ in store.identities(1000)) == [*range(50), 51], 10)
    assert store.latest("pot")["pot"][0] == 51
    until(lambda: dead_path.exists() and dead_path.read_text().endswith("\n"))
    (letter,) = [json.loads(text) for text in dead_path.read_text().splitlines()]
    assert letter["point"]["fields"] == {"odd": 1, "n": 50, "boot": "k3f9"}
    assert "conflict" in letter["reason"]
    assert letter["topic"] == "pinloop/pot/reading/odd"

"""The ways of bringing messages into the store that the ingest benchmark compares; each is one process.

`python -m bench.ingest_ways naive|batching MQTT_PORT STORE_URL` runs the two
that are written here; ours and Telegraf are the real programs.
"""

import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS, WriteOptions
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.processes import ROOT

__all__ = ["Way", "batching", "naive", "ours", "telegraf"]

FILTER = "pinloop/+/readings"


@dataclass(frozen=True)
class Way:
    """A program that subscribes and stores.

    Attributes:
        qos: of its subscription, and of what is published to it.
        share: how many messages of a full run it gets: a slow one would take minutes.
    """

    name: str
    qos: int
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0


def ours(qos: int, mqtt_port: int, http_port: int, store_url: str, reader: str = "auto") -> Way:
    """Return this listener; it subscribes with QoS 1, so the publishers' QoS decides."""
    return Way(
        f"pinloop listener{'' if reader == 'auto' else f' ({reader})'}",
        qos,
        [sys.executable, "-m", "listener"],
        {
            "PYTHONPATH": str(ROOT),
            "PINLOOP_MQTT_PORT": str(mqtt_port),
            "PINLOOP_STORE_URL": store_url,
            "PINLOOP_STORE_BUCKET": "iot",
            "PINLOOP_LISTENER_HTTP_PORT": str(http_port),
            "PINLOOP_LISTENER_MQTT_READER": reader,
        },
    )


def naive(mqtt_port: int, store_url: str) -> Way:
    """Return paho with one Point and one write for each message, as tutorials do it."""
    return Way("one write per message", 0, _here("naive", mqtt_port, store_url), {"PYTHONPATH": str(ROOT)}, 0.03)


def batching(mqtt_port: int, store_url: str) -> Way:
    """Return paho with Points and the batching WriteApi of influxdb-client."""
    return Way("influxdb-client, batching", 0, _here("batching", mqtt_port, store_url), {"PYTHONPATH": str(ROOT)}, 0.3)


def _here(what: str, mqtt_port: int, store_url: str) -> list[str]:
    return [sys.executable, "-m", "bench.ingest_ways", what, str(mqtt_port), store_url]


def telegraf(qos: int, mqtt_port: int, store_url: str, folder: Path) -> Way | None:
    """Return Telegraf, set for throughput and safety; None when it is not on PATH.

    A batch goes out when it is full and at least every 100 ms, so that no interval limits the rate; plain bodies, since
    gzip costs CPU and saves nothing here; as many undelivered messages as the broker gives it; no tag but the topic.
    """
    program = shutil.which("telegraf")
    if not program:
        return None
    config = folder / f"telegraf-{qos}.conf"
    config.write_text(f"""\
[agent]
  flush_interval = "100ms"
  metric_batch_size = 5000
  metric_buffer_limit = 1000000
  omit_hostname = true
  logtarget = "stderr"
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{mqtt_port}"]
  topics = ["{FILTER}"]
  qos = {qos}
  client_id = "telegraf"
  persistent_session = true
  max_undelivered_messages = 100000
  data_format = "json"
  name_override = "readings"
[[outputs.influxdb_v2]]
  urls = ["{store_url}"]
  organization = "iot"
  bucket = "iot"
  content_encoding = "identity"
""")
    return Way("Telegraf", qos, [program, "--config", str(config)])


def _run(what: str, mqtt_port: int, store_url: str) -> None:
    client = InfluxDBClient(url=store_url, token="", org="iot")
    options = SYNCHRONOUS if what == "naive" else WriteOptions(batch_size=5000, flush_interval=100)
    writer = client.write_api(write_options=options)

    def store(_client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        point = Point("readings").tag("device", message.topic.split("/")[1])
        for name, value in msgspec.json.decode(message.payload).items():
            if not name.startswith("_"):
                point.field(name, float(value))
        writer.write("iot", "iot", point)

    session = paho.Client(CallbackAPIVersion.VERSION2, client_id=what)
    session.on_socket_open = lambda _c, _u, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    session.on_connect = lambda *_: session.subscribe(FILTER, 0)
    session.on_message = store
    session.connect("127.0.0.1", mqtt_port)
    session.loop_forever()


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]), sys.argv[3])

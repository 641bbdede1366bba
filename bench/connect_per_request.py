"""A webhook that connects, publishes and disconnects for each request, to be measured beside ours.

The way of the blog post that Pinloop grew from, with what a benchmark has to grant it: our HTTP server instead of
Flask's own, TCP_NODELAY, QoS 1, and an answer only after the PUBACK. It keeps nothing: no claims, and no journal unless
one is named; then each body is committed (SQLite, `synchronous=FULL`) before it is acted upon.

    python -m bench.connect_per_request MQTT_PORT HTTP_PORT PASSWORD [JOURNAL]
"""

import json
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import Any

import flask
import paho.mqtt.client as paho
from flask_httpauth import HTTPBasicAuth
from paho.mqtt.enums import CallbackAPIVersion

from service.health import Health
from service.http import HttpServer
from service.settings import HttpSettings
from service.stop import stop_on_signals


def make_app(mqtt_port: int, password: str, journal: str) -> flask.Flask:
    """Return the application: POST /alert, each alert's target published at once."""
    keep = _keeper(journal) if journal else None
    app = flask.Flask("connect-per-request")
    auth = HTTPBasicAuth()
    auth.verify_password(lambda user, given: (user, given) == ("alerts", password))

    def no_delay(_client: Any, _userdata: Any, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @app.post("/alert")
    @auth.login_required
    def alert() -> str:
        if keep:
            keep(flask.request.get_data())
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_socket_open = no_delay
        client.connect("127.0.0.1", mqtt_port)
        client.loop_start()
        sent = []
        for one in flask.request.get_json()["alerts"]:
            pin, value = one["labels"]["actuate"].split("=")
            device, name = pin.split("/")
            payload = json.dumps({"v": int(value)})
            sent.append(client.publish(f"baseline/{device}/pin/{name}/set", payload, 1, retain=True))
        for info in sent:
            info.wait_for_publish(5)
        client.disconnect()
        client.loop_stop()
        return "ok"

    return app


def _keeper(journal: str) -> Callable[[bytes], None]:
    """Return what commits a body."""
    connection = sqlite3.connect(journal, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    lock = threading.Lock()

    def keep(body: bytes) -> None:
        with lock:
            connection.execute("INSERT INTO bodies (body) VALUES (?)", (body,))

    return keep


def main() -> None:
    """Serve until SIGTERM."""
    mqtt_port, http_port, password = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    journal = sys.argv[4] if len(sys.argv) > 4 else ""
    stop = stop_on_signals()
    server = HttpServer(HttpSettings(http_port=http_port), Health("baseline"), make_app(mqtt_port, password, journal))
    server.start()
    stop.wait()
    server.stop()


if __name__ == "__main__":
    main()

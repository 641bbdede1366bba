"""The way of the blog post that Pinloop grew from, as two processes, to be measured beside ours.

One InfluxDB write per message, one HTTP request per alert, one MQTT connection
per command, paho and Flask as they come. Grafana's evaluation every 10 s is
left out: the listener posts as soon as the threshold is crossed, which flatters it.

    python -m bench.seed_way listener MQTT_PORT WEBHOOK_PORT INFLUX_PORT   (0: no store)
    python -m bench.seed_way webhook  MQTT_PORT WEBHOOK_PORT
"""

import base64
import json
import sys
import time
import urllib.request

import flask
import paho.mqtt.client as paho
from flask_httpauth import HTTPBasicAuth
from paho.mqtt.enums import CallbackAPIVersion

USER, PASSWORD = "user", "password"
THRESHOLD = 80


def listener(mqtt_port: int, webhook_port: int, influx_port: int) -> None:
    """Write each reading with a request of its own; post when the threshold is crossed."""
    alerting = False

    def on_message(_client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        nonlocal alerting
        value = int(message.payload)
        if influx_port:
            line = f"pot value={value} {time.time_ns()}".encode()
            urllib.request.urlopen(f"http://127.0.0.1:{influx_port}/write?db=iot", line).read()
        if (value > THRESHOLD) != alerting:
            alerting = value > THRESHOLD
            body = json.dumps({"state": "alerting" if alerting else "ok", "ruleName": "pot"}).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{webhook_port}/alert", body)
            request.add_header("Content-Type", "application/json")
            token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
            urllib.request.urlopen(request).read()

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: client.subscribe("/pot")
    client.on_message = on_message
    client.connect("127.0.0.1", mqtt_port, 60)
    client.loop_forever()


def webhook(mqtt_port: int, port: int) -> None:
    """Connect, publish and disconnect for each request, as the original does."""
    app = flask.Flask("seed")
    auth = HTTPBasicAuth()
    auth.verify_password(lambda user, password: (user, password) == (USER, PASSWORD))
    client = paho.Client(CallbackAPIVersion.VERSION2)

    @app.post("/alert")
    @auth.login_required
    def alert() -> str:
        client.connect("127.0.0.1", mqtt_port)
        state = flask.request.get_json()["state"]
        client.publish("/alert", "1" if state == "alerting" else "0", retain=True)
        client.disconnect()
        return "ok"

    app.run("127.0.0.1", port)


if __name__ == "__main__":
    {"listener": listener, "webhook": webhook}[sys.argv[1]](*map(int, sys.argv[2:]))

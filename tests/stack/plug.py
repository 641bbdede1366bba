"""A plug as Tasmota's firmware is one, so far as it is asked: commands in, its state and its sensor out."""

import json

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.stack.compose import Stack

__all__ = ["Plug"]


class Plug:
    """The plug with the topic `topic`, signed in under that name.

    Attributes:
        on: its relay.
        commands: what it was told, (topic after `cmnd/<topic>/`, payload).

    Source: Tasmota's documentation, MQTT and Commands (POWER, STATE, PulseTime, LWT).
    """

    def __init__(self, stack: Stack, topic: str, password: str) -> None:
        self.on = False
        self.commands: list[tuple[str, str]] = []
        self._topic = topic
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=topic)
        self._client.username_pw_set(topic, password)
        self._client.will_set(f"tele/{topic}/LWT", "Offline", 1, retain=True)
        self._client.on_connect = self._connected
        self._client.on_message = self._told
        self._client.connect_async(stack.host, stack.port)
        self._client.loop_start()

    def measure(self, celsius: float) -> None:
        """Publish what its sensor says."""
        said = {"Time": "2026-11-21T12:00:00", "AM2301": {"Temperature": celsius}, "TempUnit": "C"}
        self._client.publish(f"tele/{self._topic}/SENSOR", json.dumps(said), qos=1)

    def end(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, *_: object) -> None:
        client.subscribe(f"cmnd/{self._topic}/#", 1)
        client.publish(f"tele/{self._topic}/LWT", "Online", qos=1, retain=True)

    def _told(self, client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        command, payload = message.topic.rpartition("/")[2], message.payload.decode()
        self.commands.append((command, payload))
        if command in ("POWER", "POWER1", "STATE"):
            if payload:  # without one it is a question
                self.on = payload == "ON"
            state = "ON" if self.on else "OFF"
            client.publish(f"stat/{self._topic}/RESULT", json.dumps({"POWER": state}), qos=1)
            client.publish(f"stat/{self._topic}/POWER", state, qos=1)

"""Many boards in one process: the firmware's own pins under CPython, on a paho client each instead of the firmware's.

What the firmware tells and asks for is told and asked for here, too: a will, `info` after the subscription, states,
back-off with jitter. A fleet of MicroPython processes would measure this machine and not the webhook.
"""

import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from contract.commands import decode_command
from contract.topics import INFO, PIN_SET, PIN_STATE, STATUS, Topics
from firmware.pins import Output
from tests.support.broker import Broker

__all__ = ["Board", "boards"]

_TICK_S = 0.05
_TOPICS = Topics()


class Board:
    """A board with pins that are 0 or 1.

    Attributes:
        pins: name -> what it is.
        live: name -> the seqs of the commands that came live, in order.
        connects: how often the broker has accepted it.
    """

    def __init__(self, broker: Broker, name: str, pins: Sequence[str], **limits: object) -> None:
        self.name = name
        self.live: dict[str, list[int]] = {pin: [] for pin in pins}
        self.connects = 0
        self._lock = threading.Lock()
        self._down_s: float | None = time.monotonic()
        self._outputs = {pin: Output(pin, dict(limits), lambda _value: None, _now_ms()) for pin in pins}
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name)
        client.will_set(_TOPICS.build(STATUS, name), b"offline", 1, retain=True)
        client.reconnect_delay_set(random.uniform(0.2, 0.4), 5)  # type: ignore[arg-type]
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_subscribe, client.on_message = self._subscribed, self._message
        client.connect_async(broker.host, broker.port, 5)
        client.loop_start()

    @property
    def pins(self) -> dict[str, float]:
        return {name: output.value for name, output in self._outputs.items()}

    def tick(self) -> None:
        """Let leases and guards run."""
        with self._lock:
            down_s = 0.0 if self._down_s is None else time.monotonic() - self._down_s
            for name, output in self._outputs.items():
                if output.tick(_now_ms(), down_s):
                    self._tell(name)

    def off(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        del self._client  # nothing else holds it, and only so it closes all of its file descriptors

    def _connected(self, client: paho.Client, *_: Any) -> None:
        self.connects += 1
        client.subscribe([(_TOPICS.build(PIN_SET, self.name, pin), 1) for pin in self._outputs])

    def _subscribed(self, client: paho.Client, *_: Any) -> None:
        with self._lock:
            self._down_s = None
            client.publish(_TOPICS.build(STATUS, self.name), b"online", 1, retain=True)
            for pin in self._outputs:
                self._tell(pin)
            info = {"fw": "t", "pins": {pin: output.limits for pin, output in self._outputs.items()}}
            client.publish(_TOPICS.build(INFO, self.name), json.dumps(info), 1, retain=True)

    def _disconnected(self, *_: Any) -> None:
        self._down_s = self._down_s or time.monotonic()

    def _message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        pin = _TOPICS.parse(message.topic).name
        output, command = self._outputs[pin], decode_command(message.payload)
        with self._lock:
            if command and not message.retain:
                self.live[pin].append(command.seq)
            if output.command(command, message.retain, _now_ms()) if command else output.release(_now_ms()):
                self._tell(pin)

    def _tell(self, pin: str) -> None:
        state = self._outputs[pin].state().encode()
        self._client.publish(_TOPICS.build(PIN_STATE, self.name, pin), state, 1, retain=True)


@contextlib.contextmanager
def boards(broker: Broker, names: Sequence[str], pins: Sequence[str], **limits: object) -> Iterator[list[Board]]:
    """Run boards for the length of a `with` block; `limits` as of the firmware's pins.

    No more than 320: each has three file descriptors, and paho waits with select(), which knows 1024.
    """
    made = [Board(broker, name, pins, **limits) for name in names]
    ending = threading.Event()

    def run() -> None:
        while not ending.wait(_TICK_S):
            for board in made:
                board.tick()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield made
    finally:
        ending.set()
        thread.join()
        for board in made:
            board.off()


def _now_ms() -> int:
    return int(time.monotonic() * 1000)

"""The device: its sensors, its pins and its place on the broker.

Readings go through a ring that keeps them until the broker has acknowledged
them; when it is full the oldest is dropped and counted. A command's way, from
packet to pin to reported state, is one call without a wait. What is retained
(status, states, info) is published again at every connect: brokers forget.
"""

import asyncio
import gc
import json
import random
import time
from collections import deque

from contract import topics
from contract.commands import decode_command
from contract.errors import ContractError, PayloadError
from contract.limits import FRESH_S, MAX_COMMAND_BYTES
from contract.payloads import bare_number, json_of, mapping, text_of
from contract.presence import OFFLINE, ONLINE
from contract.readings import encode_reading
from firmware import VERSION, board
from firmware.mqtt import Client
from firmware.net import Wifi
from firmware.pins import Output, keepalive_s, refused
from firmware.sensors import open_sensor
from firmware.supervisor import Supervisor, note

_ASKED = "asked over MQTT"
_INFO_S = 60
_TICK_S = 0.1
_RETRY_S = (0.2, 5)  # first and longest pause between two connections; up to as much again at random
# A command with the longest topic, and the packet's own bytes.
_PACKET_BYTES = MAX_COMMAND_BYTES + 200


class App:
    """The device that `config` describes (docs/firmware.md lists the keys)."""

    def __init__(self, config: dict) -> None:
        mqtt = config["mqtt"]
        device = config["device"]
        self._config = config
        self._started_ms = board.now_ms()
        self._boot = board.random_name(6)
        self._reset = board.reset_cause()
        self._reason = board.load("reason")
        board.remove("reason")
        build = topics.Topics(mqtt.get("prefix", topics.DEFAULT_PREFIX)).build
        self._status = build(topics.STATUS, device)
        self._info = build(topics.INFO, device)
        self._log = build(topics.LOG, device)
        self._routes = {build(topics.CMD, device): [self._cmd]}  # topic -> functions (payload, retained)
        self._states = {}  # output -> topic
        pins = config.get("pins", {})
        error = refused(pins)
        if error:  # no pin may be used: all stay at their safe values, and `log` says why
            note(ValueError(error))
            for pin in pins.values():
                if "gpio" in pin:
                    safe = pin.get("safe", 0)
                    board.output(dict(pin, boot=safe))(safe)
            pins = {}
        for name, pin in pins.items():
            output = Output(name, pin, board.output(pin), self._started_ms)
            self._states[output] = build(topics.PIN_STATE, device, name)
            self._route(build(topics.PIN_SET, device, name), output, None)
            if "set_topic" in pin:
                self._route(pin["set_topic"], output, pin.get("map"))
        self._sensors = {name: open_sensor(sensor) for name, sensor in config.get("sensors", {}).items()}
        self._readings = {name: build(topics.READING, device, name) for name in self._sensors}
        self._ring = deque((), config.get("ring", board.RING_READINGS))  # what `_encode` takes
        self._ring_size = config.get("ring", board.RING_READINGS)
        self._n = 0
        self._dropped = 0  # readings that the ring had to give up
        self._bad = 0  # messages outside the contract
        self._wifi = Wifi(config.get("wifi", {}))
        self._supervisor = Supervisor(config.get("watchdog_s", 30))
        mqtt["keepalive_s"] = keepalive_s(mqtt.get("keepalive_s", 20), pins)
        self._client = Client(mqtt, device, (self._status, OFFLINE), self._up, self._message, _PACKET_BYTES)

    async def run(self) -> None:
        """Start every duty and watch them until the chip restarts."""
        if self._reason and self._reason != _ASKED:
            await asyncio.sleep(board.PAUSE_S)  # the pins have their boot values already
        start = self._supervisor.start
        self._supervisor.expect("broker", self._config.get("link_limit_s", 600), "no broker for too long")
        start("link", self._link(), 120)
        start("pins", self._tick(), 10)
        start("info", self._tell(), _INFO_S * 3)
        for name, sensor in self._config.get("sensors", {}).items():
            interval_s = sensor.get("interval_s", self._config.get("interval_s", 0.5))
            start("sensor " + name, self._sense(name, sensor, interval_s), interval_s * 3 + 10)
        gc.collect()
        await self._supervisor.watch()

    async def _link(self) -> None:
        """Keep the device on the broker: connect, serve, wait, again."""
        pause_s = _RETRY_S[0]
        while True:
            await self._wifi.connect(self._alive)
            heard_ms = self._client.heard_ms
            try:
                await self._client.serve(self._linked)
            except OSError as error:
                print("link:", error)
            self._alive()
            if self._client.heard_ms != heard_ms:
                pause_s = _RETRY_S[0]
            await asyncio.sleep(pause_s * (1 + random.random()))
            pause_s = min(pause_s * 2, _RETRY_S[1])

    def _alive(self) -> None:
        self._supervisor.check_in("link")

    def _linked(self) -> None:
        """The broker has answered lately."""
        self._alive()
        self._supervisor.check_in("broker")

    def _up(self) -> None:
        """The broker has accepted us. Subscribe before `info`: the webhook answers that with live commands."""
        self._linked()
        self._client.subscribe(list(self._routes))
        self._publish_all()
        self._send_readings()
        exception = board.load("exception")
        if exception:
            self._client.publish(self._log, exception.encode(), 0)
            board.save("exception.told", exception)
            board.remove("exception")

    def _publish_all(self) -> None:
        self._client.publish(self._status, ONLINE.encode(), retain=True)
        for output in self._states:
            self._publish_state(output)
        self._publish_info()

    def _publish_info(self) -> None:
        """Say what the device is and how it is."""
        info = {
            "fw": VERSION,
            "chip": board.CHIP,
            "mpy": board.engine(),
            "ip": self._wifi.address(),
            "rssi": self._wifi.rssi_dbm(),
            "heap": board.heap_bytes(),
            "boots": board.boots(),
            "boot": self._boot,
            "reset": self._reset + ": " + self._reason if self._reason else self._reset,
            "uptime_s": (board.now_ms() - self._started_ms) // 1000,
            "dropped": self._dropped,
            "bad": self._bad + self._client.oversized,
            "sensors": {name: {"unit": sensor.unit} for name, sensor in self._sensors.items()},
            "pins": {output.name: output.limits for output in self._states},
        }
        self._client.publish(self._info, json.dumps(info).encode(), retain=True)

    def _publish_state(self, output: Output) -> None:
        self._client.publish(self._states[output], output.state().encode(), retain=True)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_INFO_S)
            self._publish_info()
            self._supervisor.check_in("info")

    async def _tick(self) -> None:
        """Let the leases and guards of the pins run, and notice a lost Wi-Fi."""
        while True:
            now_ms = board.now_ms()
            down_s = 0 if self._client.connected else (now_ms - self._client.heard_ms) / 1000
            for output in self._states:
                if output.tick(now_ms, down_s):
                    self._publish_state(output)
                if output.is_kept():
                    self._supervisor.check_in("broker")  # no broker for too long is no reason to let go of it
            if self._client.connected and not self._wifi.check():
                self._client.drop("no Wi-Fi")
            self._supervisor.check_in("pins")
            await asyncio.sleep(_TICK_S)

    async def _sense(self, name: str, config: dict, interval_s: float) -> None:
        """Read one sensor for ever, without drift."""
        sensor = self._sensors[name]
        next_ms = board.now_ms()
        while True:
            self._supervisor.check_in("sensor " + name)
            try:
                value = sensor.read()
            except OSError as error:
                print("sensor", name, error)
            else:
                if "topic" in config:  # a bare number without a history, as the simplest devices send it
                    self._client.publish(config["topic"], str(value).encode(), 0)
                else:
                    self._record(name, value)
            next_ms = max(next_ms + int(interval_s * 1000), board.now_ms())
            await asyncio.sleep((next_ms - board.now_ms()) / 1000)

    def _record(self, name: str, value: float) -> None:
        if len(self._ring) == self._ring_size:
            self._dropped += 1  # append() pushes the oldest out
        self._n += 1
        self._ring.append((name, value, self._n, board.clock_s(), board.now_ms() // 1000))
        self._send_readings()

    def _send_readings(self) -> None:
        """Hand over as many readings as the client takes; they come back here by their PUBACKs."""
        while self._ring and self._client.has_room():
            one = self._ring.popleft()
            self._client.publish(
                self._readings[one[0]], lambda one=one: self._encode(*one), acked=lambda n=one[2]: self._acked(n)
            )

    def _encode(self, _name: str, value: float, n: int, t_s: "float | None", taken_s: int) -> bytes:
        """Return a reading as it is sent now; one that waited says how long: nobody should act on it any more."""
        age_s = board.now_ms() // 1000 - taken_s
        return encode_reading(value, n, self._boot, t_s, age_s if age_s > FRESH_S else 0)

    def _acked(self, n: int) -> None:
        if "trace" in self._config:
            with open(self._config["trace"], "a") as file:
                file.write(self._boot + " " + str(n) + "\n")
        self._send_readings()

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        """Follow one message; a bad one is counted, whatever is wrong with it."""
        for follow in self._routes.get(topic, ()):
            try:
                follow(payload, retained)
            except ContractError as error:
                self._bad += 1
                print("ignored:", error)
            except Exception as error:  # a message must never stop the device
                self._bad += 1
                note(error)

    def _route(self, topic: str, output: Output, values) -> None:
        """Let `topic` command `output`; `values` maps bare payloads to the pin's values."""

        def follow(payload: bytes, retained: bool) -> None:
            now_ms = board.now_ms()
            command = decode_command(payload)
            if command and values:
                command.value = _mapped(payload, values)
            if output.command(command, retained, now_ms) if command else output.release(now_ms):
                self._publish_state(output)

        self._routes.setdefault(topic, []).append(follow)

    def _cmd(self, payload: bytes, retained: bool) -> None:
        """Do what `cmd` asks; a retained one was meant for an earlier time."""
        if retained:
            return
        do = mapping(json_of(text_of(payload, "cmd", MAX_COMMAND_BYTES), "cmd"), "cmd").get("do")
        if do == "reset":
            board.reset(_ASKED)
        elif do == "refresh":
            self._publish_all()
        elif do == "identify":
            asyncio.create_task(self._identify())
        else:
            raise PayloadError("cmd.do", do, "is not one of reset, refresh, identify", "do")

    async def _identify(self) -> None:
        """Blink the board's LED (`led` in the configuration) for five seconds."""
        print("identify")
        if "led" in self._config:
            drive = board.output(self._config["led"])
            for turn in range(20):
                drive(turn & 1)
                await asyncio.sleep(0.25)


def _mapped(payload: bytes, values: dict) -> float:
    key = str(bare_number(payload.decode(), "command"))
    if key not in values:
        raise PayloadError("command", payload, "is not one of " + ", ".join(values), "range")
    return values[key]


def main() -> None:
    """Run until the chip restarts, also when the configuration is bad or the memory too small."""
    try:
        app = App(json.loads(board.load("device.json")))
    except Exception as error:
        note(error)
        time.sleep(board.PAUSE_S)
        board.reset("bad configuration: " + repr(error))
    asyncio.run(app.run())

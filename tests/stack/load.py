"""What drives the stack under test: a device that publishes all the time, and a source of alerts."""

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.stack.compose import Stack

__all__ = ["Alerts", "Load", "Wishes"]

_EVERY_S = 0.05
_REPOST_S = 1.0


class Load:
    """The device `load`: a level twenty times a second at QoS 1, and a note of each that the broker acknowledged.

    Attributes:
        began_at_s: when it began, seconds since 1970; the whole stack was up by then.
        level: the value that it publishes, 0 to 100.
        acknowledged_at_s: n -> monotonic seconds of its PUBACK.
        forgiven: numbers that a fault may have cost, and has; no later check asks for them.
    """

    device = "load"

    def __init__(self, stack: Stack, password: str) -> None:
        self.boot = f"b{int(time.time()) % 10**6}"
        self.began_at_s = time.time()
        self.level = 10
        self.acknowledged_at_s: dict[int, float] = {}
        self.forgiven: set[int] = set()
        self._numbers: dict[int, int] = {}  # message id -> n; ids are not used twice in a run (65,535 of them)
        self._unmatched: dict[int, float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self.device)
        self._client.username_pw_set(self.device, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_publish = self._acknowledged
        self._client.connect_async(stack.host, stack.port, keepalive=4)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop publishing and disconnect."""
        self._ended.set()
        self._thread.join(5)
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, sensor: str, value: float, at_s: float | None = None) -> None:
        """Publish one reading of another sensor, without a number, so it is not counted.

        Args:
            at_s: when it was taken, seconds since 1970; None: now.
        """
        payload = f"{value}" if at_s is None else f'{{"v":{value},"t":{at_s:.3f}}}'
        self._client.publish(f"pinloop/{self.device}/reading/{sensor}", payload, qos=1).wait_for_publish(5)

    def publish_samples(self, sensor: str, value: float, many: int) -> None:
        """Publish a back-fill of another sensor, one sample a second until now, not counted."""
        now_s = time.time()
        samples = [{sensor: value, "_t": round(now_s - ago_s, 3)} for ago_s in range(many)]
        self._client.publish(f"pinloop/{self.device}/readings", json.dumps(samples), qos=1).wait_for_publish(5)

    def until(self, at_s: float) -> set[int]:
        """Return the numbers of the readings acknowledged before a moment, monotonic seconds."""
        with self._lock:
            return {n for n, seen_s in self.acknowledged_at_s.items() if seen_s <= at_s}

    def _publish(self) -> None:
        n = 0
        while not self._ended.wait(_EVERY_S):
            n += 1
            payload = f'{{"v":{self.level},"n":{n},"b":"{self.boot}"}}'
            info = self._client.publish(f"pinloop/{self.device}/reading/level", payload, qos=1)
            with self._lock:
                self._numbers[info.mid] = n
                if info.mid in self._unmatched:  # its PUBACK was faster than this thread
                    self.acknowledged_at_s[n] = self._unmatched.pop(info.mid)

    def _acknowledged(self, _client: object, _userdata: object, mid: int, *_: object) -> None:
        with self._lock:
            if mid in self._numbers:
                self.acknowledged_at_s[self._numbers[mid]] = time.monotonic()
            else:
                self._unmatched[mid] = time.monotonic()


class Alerts:
    """Posts the alerts that fire to Alertmanager each second, and those that ended for a while, as Prometheus does."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._alerts: dict[str, dict[str, object]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._post, daemon=True)
        self._thread.start()

    def fire(self, name: str, actuate: str = "", **more: str) -> None:
        """Begin an alert, with more labels; one of that name is replaced."""
        with self._lock:
            labels = {"alertname": name, "actuate": actuate, **more}
            self._alerts[name] = {"labels": labels, "startsAt": _time(), "endsAt": _time(3600)}
        self._changed.set()

    def resolve(self, name: str) -> None:
        """End an alert."""
        with self._lock:
            self._alerts[name]["endsAt"] = _time()
        self._changed.set()

    def end(self) -> None:
        """Post no more."""
        self._ended.set()
        self._changed.set()
        self._thread.join(5)

    def _post(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                oldest = _time(-60)
                self._alerts = {name: one for name, one in self._alerts.items() if str(one["endsAt"]) > oldest}
                body = list(self._alerts.values())
            with contextlib.suppress(OSError):  # paused, killed, starting: the next post says the same
                if body:
                    self._stack.http("ALERTMANAGER_PORT", "/api/v2/alerts", body=body)
            self._changed.wait(_REPOST_S)
            self._changed.clear()


@dataclass
class Wishes:
    """What the pins should be: red by the rule on the level, green by an alert.

    Attributes:
        wanted: pin -> value.
        fired: how many alerts there have been; each has a name of its own.
    """

    load: Load
    alerts: Alerts
    wanted: dict[str, int] = field(default_factory=lambda: {"red": 0, "green": 0})
    fired: int = 0

    def change(self) -> None:
        """Turn both pins around."""
        self.red(1 - self.wanted["red"])
        self.green(1 - self.wanted["green"])

    def red(self, value: int) -> None:
        """Set the level above or below the rule's thresholds."""
        self.load.level = 90 if value else 10
        self.wanted["red"] = value

    def green(self, value: int) -> None:
        """Fire or end the alert for the green light."""
        if value and not self.wanted["green"]:
            self.fired += 1
            self.alerts.fire(f"lamp-{self.fired}", "lights/green=1")
        elif self.wanted["green"] and not value:
            self.alerts.resolve(f"lamp-{self.fired}")
        self.wanted["green"] = value


def _time(ahead_s: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=ahead_s)).isoformat(timespec="milliseconds")

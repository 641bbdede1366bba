"""The picture: what is known now about every device, reading and pin.

Takes decoded messages with the time of their receipt and returns plain dicts;
what changes is added to the feed. It holds no socket and decides nothing:
desired values are the webhook's, reported values the device's.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client import Counter

from contract.commands import Command, State
from hub.feed import Feed
from hub.words import decimals

__all__ = ["MAX_DEVICES", "MAX_PINS", "MAX_SENSORS_PER_DEVICE", "Picture"]

# Without accounts at the broker anybody can invent names: the picture must not grow with them.
MAX_DEVICES = 10_000
MAX_PINS = 20_000
MAX_SENSORS_PER_DEVICE = 256
# What a chart draws below its line: states of the pin in the last minutes.
_KEPT_STATES = 500

IGNORED = Counter("hub_names_ignored_total", "Messages of names beyond what the picture keeps.", ["kind"])

Json = dict[str, Any]


class Picture:
    """Devices, their last readings and their pins.

    Safe for several threads: fed on the network thread and by the mirror of the webhook, read by requests.

    Attributes:
        began_s: since when it is filled, seconds since 1970.

    Args:
        feed: gets an event for every change.
        clock: seconds since 1970.
        stale: says of (device, whether its info declares the sensor) after how many seconds a reading is not current
            any more; three times the pause before it count as well.
    """

    def __init__(
        self, feed: Feed, clock: Callable[[], float], stale: Callable[[str, bool], float] = lambda _device, _own: 60
    ) -> None:
        self.feed = feed
        self.began_s = clock()
        self._clock = clock
        self._stale = stale
        self._lock = threading.RLock()
        self._devices: dict[str, Json] = {}
        self._pins: dict[tuple[str, str], Json] = {}
        self._history: dict[tuple[str, str], deque[tuple[float, float]]] = {}
        self._alerts: list[Json] = []
        self._links: dict[str, Json] = {}
        self._dead_letters = 0

    # --- what comes in -------------------------------------------------------------------------------------

    def status(self, device: str, status: str, retained: bool) -> None:
        """Take a device's status; of a retained one it is not known since when it holds."""
        with self._lock:
            entry = self._device(device)
            if entry is None or entry["status"] == status:
                return
            entry["status"] = status
            entry["since_s"] = None if retained else self._clock()
            self.feed.add("status", {"device": device, "status": status, "since_s": entry["since_s"]})

    def info(self, device: str, info: Json) -> None:
        """Take what a device says about itself."""
        with self._lock:
            entry = self._device(device)
            if entry is None:
                return
            news = _lasting(info) != _lasting(entry["info"])
            entry["info"] = info
            for sensor, reading in entry["readings"].items():
                reading["unit"] = _unit(info, sensor)
            for pin in info["pins"]:
                self._pin(device, pin)
            if news:
                self.feed.add("info", {"device": device})

    def reading(self, device: str, sensor: str, value: float, t_s: float) -> None:
        """Take a reading of time `t_s`; one that is older than what is known is no news."""
        with self._lock:
            entry = self._device(device)
            if entry is None:
                return
            known = entry["readings"].get(sensor)
            if known and t_s < known["t_s"]:
                return
            if not known and len(entry["readings"]) >= MAX_SENSORS_PER_DEVICE:
                IGNORED.labels("sensor").inc()
                return
            unit = _unit(entry["info"], sensor)
            stale_s = self._stale(device, sensor in entry["info"]["sensors"])
            reading = {
                "value": value,
                # As many decimals as the sensor has shown so far: the text must not change its width with each value.
                "decimals": max(decimals(value), known["decimals"] if known else 0),
                "t_s": t_s,
                "unit": unit,
                "stale_s": max(stale_s, 3 * (t_s - known["t_s"])) if known else stale_s,
            }
            entry["readings"][sensor] = reading
            if known:
                self.feed.add("reading", {"device": device, "sensor": sensor, **reading})
            else:
                self.feed.add("info", {"device": device})

    def command(self, device: str, pin: str, command: Command | None) -> None:
        """Take what the webhook asked of a pin; None: nothing, the pin is released."""
        with self._lock:
            entry = self._pin(device, pin)
            if entry is None:
                return
            entry["command"] = command and {"value": command.value, "seq": command.seq, "by": command.by}
            self._compare(entry)
            self._pin_changed(entry)

    def state(self, device: str, pin: str, state: State, retained: bool) -> None:
        """Take what a device reports of a pin; of a retained report it is not known when it was made."""
        with self._lock:
            entry = self._pin(device, pin)
            if entry is None:
                return
            was = entry["reported"]
            if was is None or was["value"] != state.value:
                at_s = None if retained else self._clock()
                self._history.setdefault((device, pin), deque(maxlen=_KEPT_STATES)).append((self._clock(), state.value))
            else:
                at_s = was["at_s"]
            entry["reported"] = {"value": state.value, "seq": state.seq, "why": state.why, "at_s": at_s}
            self._compare(entry)
            self._pin_changed(entry)

    def forget_device(self, device: str) -> None:
        """Take the end of a device: somebody cleared its retained status."""
        with self._lock:
            if self._devices.pop(device, None):
                for key in [key for key in self._pins if key[0] == device]:
                    del self._pins[key]
                    self._history.pop(key, None)
                self.feed.add("info", {"device": device})

    def forget_report(self, device: str, pin: str) -> None:
        """Take the end of a report: somebody cleared it; a pin that its device does not declare is gone with it."""
        with self._lock:
            entry, known = self._pins.get((device, pin)), self._devices.get(device)
            if entry is None:
                return
            entry["reported"] = None
            if known and pin in known["info"]["pins"]:
                self._compare(entry)
                self._pin_changed(entry)
            else:
                del self._pins[device, pin]
                self._history.pop((device, pin), None)
                self.feed.add("info", {"device": device})

    def explained(self, pins: Sequence[Json]) -> None:
        """Take the webhook's view of all pins: desired, claims, text."""
        with self._lock:
            for view in pins:
                entry = self._pin(view["device"], view["pin"])
                if entry is not None and entry["explained"] != view:
                    entry["explained"] = view
                    self._pin_changed(entry)

    def alerts_are(self, alerts: list[Json]) -> None:
        """Take the webhook's alerts."""
        with self._lock:
            if alerts != self._alerts:
                self._alerts = alerts
                self.feed.add("alerts", {})

    def link(self, name: str, problem: str | None) -> None:
        """Take the state of one of the hub's own connections ("broker", "webhook"); None: it stands.

        A problem that is only told in other words goes on since it began.
        """
        with self._lock:
            was = self._links.get(name)
            if was is None or was["problem"] != problem:
                goes_on = was is not None and was["problem"] and problem
                since_s = was["since_s"] if was and goes_on else self._clock()
                self._links[name] = {"problem": problem, "since_s": since_s}
                self.feed.add("links", {name: self._links[name]})

    def dead_letters_are(self, count: int) -> None:
        """Take how many messages and points the listener keeps as dead letters."""
        with self._lock:
            if count != self._dead_letters:
                self._dead_letters = count
                self.feed.add("links", {})

    # --- what goes out -------------------------------------------------------------------------------------

    def devices(self) -> list[Json]:
        """Return every device: device, status, since_s, info, readings; sorted by id."""
        with self._lock:
            return [self._copy(self._devices[name]) for name in sorted(self._devices)]

    def device(self, device: str) -> Json | None:
        """Return one device, None when it was never heard of."""
        with self._lock:
            entry = self._devices.get(device)
            return self._copy(entry) if entry else None

    def pins(self) -> list[Json]:
        """Return every pin: device, pin, command, reported, differs_since_s, explained; sorted."""
        with self._lock:
            return [dict(self._pins[key]) for key in sorted(self._pins)]

    def pin(self, device: str, pin: str) -> Json | None:
        """Return one pin, None when it was never heard of."""
        with self._lock:
            entry = self._pins.get((device, pin))
            return dict(entry) if entry else None

    def pin_history(self, since_s: float) -> dict[tuple[str, str], list[tuple[float, float]]]:
        """Return (device, pin) -> [(t_s, reported value)], from the state that held at `since_s` on."""
        with self._lock:
            found = {}
            for key, states in self._history.items():
                before = [state for state in states if state[0] <= since_s][-1:]
                found[key] = before + [state for state in states if state[0] > since_s]
            return found

    def alerts(self) -> list[Json]:
        """Return the alerts as the webhook told them last."""
        with self._lock:
            return list(self._alerts)

    def links(self) -> dict[str, Json]:
        """Return name -> {"problem": text or None, "since_s"} of the hub's own connections."""
        with self._lock:
            return {name: dict(link) for name, link in self._links.items()}

    def dead_letters(self) -> int:
        """Return how many dead letters the listener keeps, as it said last."""
        with self._lock:
            return self._dead_letters

    # -------------------------------------------------------------------------------------------------------

    def _device(self, device: str) -> Json | None:
        """Return a device's entry, made if need be; None when there are too many."""
        if device not in self._devices:
            if len(self._devices) >= MAX_DEVICES:
                IGNORED.labels("device").inc()
                return None
            self._devices[device] = {
                "device": device,
                "status": "unknown",
                "since_s": None,
                "info": {"sensors": {}, "pins": {}},
                "readings": {},
            }
            self.feed.add("info", {"device": device})
        return self._devices[device]

    def _pin(self, device: str, pin: str) -> Json | None:
        if self._device(device) is None:
            return None
        if (device, pin) not in self._pins and len(self._pins) >= MAX_PINS:
            IGNORED.labels("pin").inc()
            return None
        return self._pins.setdefault(
            (device, pin),
            {
                "device": device,
                "pin": pin,
                "command": None,
                "reported": None,
                "differs_since_s": None,
                "explained": None,
            },
        )

    def _pin_changed(self, entry: Json) -> None:
        self.feed.add("pin", {key: value for key, value in entry.items() if key != "explained"})

    def _compare(self, entry: Json) -> None:
        command, reported = entry["command"], entry["reported"]
        differs = command is not None and (reported is None or reported["value"] != command["value"])
        if not differs:
            entry["differs_since_s"] = None
        elif entry["differs_since_s"] is None:
            entry["differs_since_s"] = self._clock()

    def _copy(self, entry: Json) -> Json:
        return {**entry, "readings": {sensor: dict(reading) for sensor, reading in sorted(entry["readings"].items())}}


def _lasting(info: Json) -> Json:
    """Return what does not change from one minute's info to the next by itself."""
    return {key: value for key, value in info.items() if key not in ("uptime_s", "heap", "rssi")}


def _unit(info: Mapping[str, Any], sensor: str) -> str:
    declared = info["sensors"].get(sensor, {})
    return str(declared.get("unit", "")) if isinstance(declared, dict) else ""

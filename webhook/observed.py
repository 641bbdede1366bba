"""What the broker and the devices say: infos, statuses, reported states, and our own commands read back.

Fed on the MQTT network thread, read by the others. It keeps no database and
sends nothing; whoever wants to act on a message is told through a callback.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from contract.commands import RELEASED, State, decode_state
from contract.errors import ContractError
from contract.limits import MAX_INTEGER
from contract.payloads import number
from contract.presence import ONLINE, decode_info, decode_status
from contract.topics import INFO, PIN_SET, PIN_STATE, STATUS, Topics
from service.mqtt import Message
from service.packets import Received
from webhook import metrics
from webhook.commands import Pin

__all__ = ["Observed", "Reported"]

_MOST_TOPICS = 65536  # whose parts are remembered
# Each pin that a device reports costs a place here and, to be released, a row of the database: it may invent names.
_MOST_PINS = 256


@dataclass(frozen=True, slots=True)
class Reported:
    """What a pin was last said to be.

    Attributes:
        value, seq, why: as in the contract's State.
        at_s: when the message came, seconds since 1970.
        since_s: when this value was first reported, seconds since 1970.
    """

    value: float
    seq: int
    why: str
    at_s: float
    since_s: float


class Observed:
    """The last word of every device and of the broker.

    Args:
        topics: the topics below our prefix.
        on_info: called (on the network thread) with the device whose info came live.

    Attributes:
        pins: device -> pin -> what `info` declares of it.
        status: device -> one of the contract's STATUSES.
        reported: pin -> what it was last said to be.
        retained: pin -> the payload last seen on its `set` topic, without the pins where it was empty.
        reports: (pin, seq, value or None for released, when) that nobody has recorded yet; the oldest are dropped.
    """

    KINDS = (INFO, STATUS, PIN_STATE, PIN_SET)

    def __init__(self, topics: Topics, on_info: Callable[[str], None]) -> None:
        self._parse = lru_cache(_MOST_TOPICS)(topics.parse)
        self._on_info = on_info
        self.pins: dict[str, dict[str, dict[str, object]]] = {}
        self.status: dict[str, str] = {}
        self.reported: dict[Pin, Reported] = {}
        self.retained: dict[Pin, bytes] = {}
        self.reports: deque[tuple[Pin, int, float | None, float]] = deque(maxlen=100_000)
        self.last_retained_s = 0.0
        self._names: dict[str, set[str]] = defaultdict(set)  # of the pins that a device has reported since the start
        self._reporting = threading.Lock()  # around a change of what was reported

    def shift(self, step_s: float) -> None:
        """Move the times of what was reported by `step_s` seconds: the clock was set; from any thread.

        They are compared with those of the commands: an "off" of before must not pass for one of after.
        """
        now_s = time.time()  # what came since the clock was set is moved too far
        with self._reporting:
            for pin, one in self.reported.items():
                at_s, since_s = (min(at + step_s, now_s) for at in (one.at_s, one.since_s))
                self.reported[pin] = replace(one, at_s=at_s, since_s=since_s)

    def forget_retained(self) -> None:
        """Start reading back anew; called on the network thread when the connection stands."""
        self.retained.clear()
        self.last_retained_s = time.monotonic()

    def message(self, message: Message | Received) -> None:
        """Take in a message; one outside the contract is counted and changes nothing."""
        if message.retain:
            self.last_retained_s = time.monotonic()
        payload = bytes(message.payload)
        try:
            topic = self._parse(message.topic)
            if topic.kind == PIN_SET:
                self._set((topic.device, topic.name), payload)
            elif topic.kind == PIN_STATE:
                self._state((topic.device, topic.name), payload)
            elif topic.kind == STATUS:
                self._presence(topic.device, payload)
            elif topic.kind == INFO:
                self._info(topic.device, payload, live=not message.retain)
        except ContractError as error:
            metrics.REFUSED_MESSAGES.labels(error.reason).inc()

    def online(self, device: str) -> bool:
        """Tell whether the device says that it is there."""
        return self.status.get(device) == ONLINE

    def safe(self, pin: Pin) -> float | None:
        """Return the pin's safe value, None while its device has not told."""
        return self._declared(pin, "safe", 0)

    def default(self, pin: Pin) -> float | None:
        """Return what the pin should be without a claim, None while its device has not told."""
        safe = self.safe(pin)
        return None if safe is None else self._declared(pin, "default", safe)

    def reported_seq(self, pin: Pin) -> int:
        """Return the `seq` that the pin followed last, 0 for none, and for one that leaves no room for greater ones."""
        reported = self.reported.get(pin)
        return reported.seq if reported and reported.seq < MAX_INTEGER // 2 else 0

    def _declared(self, pin: Pin, key: str, otherwise: float) -> float | None:
        declared = self.pins.get(pin[0], {}).get(pin[1])
        if declared is None:
            return None
        value = number(declared.get(key, otherwise), key)
        return int(value) if value == int(value) else value  # as the database gives it back

    def _set(self, pin: Pin, payload: bytes) -> None:
        if payload:
            self.retained[pin] = payload
        else:
            self.retained.pop(pin, None)

    def _state(self, pin: Pin, payload: bytes) -> None:
        if not payload:
            with self._reporting:
                self.reported.pop(pin, None)
            return
        state: State = decode_state(payload)
        now_s = time.time()
        with self._reporting:
            before = self.reported.get(pin)
            names = self._names[pin[0]]
            if pin[1] not in names:
                if len(names) >= _MOST_PINS:
                    raise ContractError("pin", pin[1], f"is one more than {_MOST_PINS} of {pin[0]}", "many")
                names.add(pin[1])
            since_s = before.since_s if before and before.value == state.value else now_s
            self.reported[pin] = Reported(state.value, state.seq, state.why, now_s, since_s)
        self.reports.append((pin, state.seq, None if state.why == RELEASED else state.value, now_s))

    def _presence(self, device: str, payload: bytes) -> None:
        if payload:
            self.status[device] = decode_status(payload)
        else:
            self.status.pop(device, None)

    def _info(self, device: str, payload: bytes, *, live: bool) -> None:
        if not payload:
            self.pins.pop(device, None)
            return
        declared = decode_info(payload)["pins"]
        assert isinstance(declared, dict)  # noqa: S101  (what decode_info promises, told to the type checker)
        self.pins[device] = declared
        if live:
            self._on_info(device)

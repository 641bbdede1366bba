"""Flights: messages of QoS 1 on their way to the broker, by packet id, until its PUBACK comes or the connection ends.

paho makes an object with a condition for each message and takes five locks on
its way: 60 us. Here a message costs its packet and an entry in a table.

Source: MQTT 3.1.1 (OASIS), sections 2.3.1 (packet identifiers), 3.3 (PUBLISH), 3.4 (PUBACK)
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Flight", "Flights", "Outgoing"]

_MOST = 65535


class Outgoing(NamedTuple):
    """A message of QoS 1 to be sent."""

    topic: str
    payload: bytes
    retain: bool = False


class Flight:
    """A message that was sent.

    Attributes:
        acked: the broker has it.
        over: it has, or nobody will ever know: the connection ended first.
    """

    __slots__ = ("_waiting", "acked", "over")

    def __init__(self) -> None:
        self.acked = False
        self.over = False
        self._waiting: list[threading.Lock] = []

    def wait(self, timeout_s: float) -> bool:
        """Return whether the broker's PUBACK came within `timeout_s` seconds."""
        if not self.over and timeout_s > 0:
            woken = threading.Lock()
            woken.acquire()
            self._waiting.append(woken)
            if not self.over:  # looked at after the entry: `land` sets it first and looks for entries then
                woken.acquire(timeout=timeout_s)
        return self.acked

    def land(self, acked: bool) -> None:
        """End it."""
        self.acked = acked
        self.over = True
        while self._waiting:
            self._waiting.pop().release()


class Flights:
    """Those of one connection; used by any thread."""

    def __init__(self) -> None:
        self._flying: dict[int, Flight] = {}
        self._last_mid = 0
        self._lock = threading.Lock()

    def depart(self, messages: Sequence[Outgoing]) -> tuple[bytes, list[Flight]]:
        """Return the packets of messages, one after the other, and their flights.

        Raises:
            OverflowError: every packet id is in use.
        """
        packets: list[bytes] = []
        flights: list[Flight] = []
        with self._lock:
            if len(self._flying) + len(messages) > _MOST:
                raise OverflowError(f"{len(self._flying)} messages wait for the broker already")
            for message in messages:
                flight = Flight()
                packets.append(_packet(message, self._next_mid(flight)))
                flights.append(flight)
        return b"".join(packets), flights

    def _next_mid(self, flight: Flight) -> int:
        mid = self._last_mid
        while True:
            mid = mid % _MOST + 1
            if mid not in self._flying:
                break
        self._last_mid = mid
        self._flying[mid] = flight
        return mid

    def landed(self, mid: int) -> bool:
        """Take a PUBACK; return whether it was for one of these."""
        with self._lock:
            flight = self._flying.pop(mid, None)
        if flight is None:
            return False
        flight.land(True)
        return True

    def lost(self) -> None:
        """End all: the connection has."""
        with self._lock:
            flying, self._flying = self._flying, {}
        for flight in flying.values():
            flight.land(False)


def _packet(message: Outgoing, mid: int) -> bytes:
    """Return a PUBLISH of QoS 1."""
    topic = message.topic.encode()
    length = 4 + len(topic) + len(message.payload)
    remaining = bytearray()
    while True:
        length, low = divmod(length, 128)
        remaining.append(low | (128 if length else 0))
        if not length:
            break
    first = 0x33 if message.retain else 0x32
    return b"".join(
        (bytes((first,)), remaining, len(topic).to_bytes(2, "big"), topic, mid.to_bytes(2, "big"), message.payload)
    )

"""Messages of QoS 1 that paho knows nothing of: packets, ids, and how they end."""

import threading

import pytest

from service.flights import Flights, Outgoing
from service.packets import Received, Scanner


def test_the_packets_say_what_was_to_be_sent() -> None:
    """Also a payload whose length takes two bytes."""
    messages = [Outgoing("a/b", b"on", retain=True), Outgoing("a/ü", b"x" * 300), Outgoing("c", b"")]
    packets, _ = Flights().depart(messages)
    found: list[Received] = []
    assert Scanner().scan(packets, 0, 1, 0, found) == len(packets)
    assert [Outgoing(one.topic, one.payload, one.retain) for one in found] == messages
    assert [(one.qos, one.mid) for one in found] == [(1, 1), (1, 2), (1, 3)]


def test_a_flight_ends_with_its_own_puback() -> None:
    """Who waits is woken; a PUBACK that nobody waits for is somebody else's."""
    flights = Flights()
    _, (first, second) = flights.depart([Outgoing("a", b""), Outgoing("b", b"")])
    told: list[bool] = []
    waiting = threading.Thread(target=lambda: told.append(second.wait(5)))
    waiting.start()
    assert flights.landed(2)
    waiting.join(5)
    assert told == [True]
    assert not flights.landed(2)
    assert not first.wait(0.01)


def test_an_end_of_the_connection_ends_them_all() -> None:
    """At once, not after the time that somebody would wait; and their ids are free again."""
    flights = Flights()
    _, (one,) = flights.depart([Outgoing("a", b"")])
    flights.lost()
    assert not one.wait(60)
    assert not flights.landed(1)


def test_an_id_in_flight_is_not_given_twice() -> None:
    """65,535 at a time, and not one more; the first that is free again is taken."""
    flights = Flights()
    flights.depart([Outgoing("a", b"")] * 65535)
    with pytest.raises(OverflowError):
        flights.depart([Outgoing("a", b"")])
    flights.landed(77)
    packets, _ = flights.depart([Outgoing("a", b"")])
    assert packets[-2:] == (77).to_bytes(2, "big")

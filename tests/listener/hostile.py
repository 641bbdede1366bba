"""`python -m tests.listener.hostile`: what strangers send to fill the listener's memory, through all that remembers.

From the blocks of bytes of the broker to the lines of the store, in one process; prints one line an attack: its name,
the process's memory after it (MB), and how many messages of it there were.
"""

import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator

from bench.processes import rss_mb
from inputs.declared import parse
from tests.support.hearing import Hearing
from tests.support.processes import ROOT

Messages = Iterator[tuple[str, bytes]]


def name(number: int) -> str:
    """Return a sensor's name of the greatest length."""
    return f"s{number:x}_".ljust(32, "x")


def names_in_topics() -> Messages:
    """Ever new sensors, one a topic."""
    return ((f"pinloop/pot/reading/{name(number)}", b"1") for number in range(40_000))


def names_in_payloads() -> Messages:
    """64 new sensors in each message."""
    for number in range(4000):
        yield "pinloop/pot/readings", json.dumps({name(number * 64 + i): 1 for i in range(64)}).encode()


def sets_of_sensors() -> Messages:
    """Ever other sets of the same sensors, and ever other starts and counts."""
    dice = random.Random(1)
    known = [name(number) for number in range(800)]
    for number in range(6000):
        sample = {**dict.fromkeys(dice.sample(known, 64), 1), "_n": dice.randrange(2**40), "_b": f"k{number % 100}"}
        yield "pinloop/cup/readings", json.dumps(sample).encode()


def keys() -> Messages:
    """Thousands of keys in each message, and keys of 60 KB."""
    for number in range(100):
        yield "pinloop/pot/readings", json.dumps({f"{number:x}{i:x}": 1 for i in range(4500)}).encode()
    for number in range(1500):
        yield "pinloop/pot/readings", b'{"%d%s":1}' % (number, b"x" * 60_000)


def foreign_keys() -> Messages:
    """Keys of 60 KB in other firmware's JSON."""
    return (("tele/x/SENSOR", b'{"%d%s":1}' % (number, b"x" * 60_000)) for number in range(500))


def long_topics() -> Messages:
    """60 KB of topic, ours and other firmware's."""
    for number in range(2000):
        long = f"{number}{'x' * 60_000}"
        for topic in (f"pinloop/pot/reading/{long}", f"tele/{long}/SENSOR", f"zigbee2mqtt/{long}"):
            yield topic, b'{"a":1}'
        yield f"homie/d/{long}/p/$unit", b"C"


def foreign_names() -> Messages:
    """Devices and properties with names as long as they may be, of four bytes a letter."""
    for number in range(25_000):
        yield f"zigbee2mqtt/{number}{chr(0x1D4EA) * 110}", b'{"a":1}'
        yield f"homie/{'d' * 60}/{number}/p{'x' * 100}/$unit", b"%dC" % number


def starts() -> Messages:
    """A start of its own for each message."""
    for number in range(30_000):
        yield "pinloop/jar/reading/pot", b'{"v":1,"n":%d,"b":"k%x"}' % (number * 2048 + 2047, number)


def devices() -> Messages:
    """Ever new devices, with pins and sensors."""
    for number in range(30_000):
        yield f"pinloop/d{number}/reading/pot", b'{"v":1,"n":1,"b":"k%x","t":%d}' % (number, time.time())
        yield f"pinloop/d{number}/pin/{name(number)}/set", b'{"v":1,"by":"alert %s"}' % (b"x" * 110)


def texts() -> Messages:
    """Ever other texts about a pin and about devices."""
    for number in range(10_000):
        yield "pinloop/pot/pin/lamp/set", b'{"v":%d,"by":"alert %d%s"}' % (number % 2, number, b"x" * 100)
        fields = ";".join(map(str, range(1, 15)))
        yield "/isems/x/csvlog", f"n{number % 500};r{number};{1700000000 + number};{'f' * 80};{fields}".encode()


ATTACKS: tuple[Callable[[], Messages], ...] = (
    names_in_topics, names_in_payloads, sets_of_sensors, keys, foreign_keys, long_topics, foreign_names, starts,
    texts, devices,
)  # fmt: skip


def main() -> None:
    """Run them all, one after the other, against the same listener."""
    logging.disable()
    listener = Hearing(parse((ROOT / "listener/inputs.toml").read_text()))
    print("start", rss_mb(os.getpid()), 0, flush=True)
    for attack in ATTACKS:
        total = 0
        for topic, payload in attack():
            total += 1
            if listener.put(topic, payload):
                list(listener.hear())
        list(listener.hear())
        print(attack.__name__, rss_mb(os.getpid()), total, flush=True)


if __name__ == "__main__":
    main()

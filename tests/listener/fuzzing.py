"""`python -m tests.listener.fuzzing SEED COUNT`: that many messages of any kind, to a listener with every input.

Topics within each input's filters and strange ones; valid vectors, whole and mutated; random bytes, deep JSON, huge
numbers, bad UTF-8. Prints a JSON object: how many messages made points, were rejected, did neither, the reasons, and
the process's memory after each quarter. What is wrong ends it with a traceback.
"""

import json
import logging
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence

from prometheus_client import REGISTRY

from bench.processes import rss_mb
from inputs.declared import FIRMWARE, parse
from listener.decode import About, Readings
from listener.errors import REASONS
from tests.support.every_input import DECLARED
from tests.support.hearing import Hearing
from tests.support.processes import ROOT

FILE = "\n".join(f"[{name}]" for name in FIRMWARE) + DECLARED
OURS = ["reading/+", "readings", "status", "info", "pin/+/set", "pin/+/state", "cmd", "+"]
WORDS = ["pot", "x", "temperature", "lamp", "d1", "s1", "kitchen", "a_b"]
ODD_WORDS = ["1", "SENSOR", "state", "$unit", "$state", "switch:0", "a b", "\u00e9", "", "Z" * 30, "z" * 300]
SCALARS = [None, True, 0, -1, 1.5, 2**53, -(2**63), 10**30, 1e308, float("nan"), float("inf"), "", "ON", "nan",
           "61.5", "\u00b0F", "\0", "x" * 200, "2024-01-01T00:00:00Z", "online", "NotifyStatus", [], {}]  # fmt: skip
KEYS = ["v", "t", "n", "b", "a", "_t", "_n", "_b", "_a", "pot", "time", "seq", "by", "why", "Time", "TempUnit",
        "ENERGY", "params", "method", "ts", "nodes", "unit", "f", "id", "gpio", "name", "timestamp", "data", "main", "",
        "\u00e9", "k" * 100]  # fmt: skip
ODD = [b"[" * 60000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"9" * 5000, b'{"f":' + b"9" * 5000 + b"}", b"\xff\xfe{}",
       b'{"a":1,"a":{"a":2}}', b'{"a":NaN,"b":1e999,"c":-0}', b"x" * 70000, b"", b"null", b'"\\ud800"',
       b'{"\\ud800":1,"name":"\\udfff"}', b'{"time":1,"n":2,"boot":3,"device":4}', b'{"v":1e999}', b"-0",
       b"\0"]  # fmt: skip


def vectors() -> list[tuple[str, bytes]]:
    """Return the topics and payloads of all golden messages."""
    found: list[tuple[str, bytes]] = []
    for path in sorted(ROOT.glob("inputs/*/vectors.json")):
        found += [(one["topic"], one["payload"].encode()) for one in json.loads(path.read_text())["vectors"]]
    for kind, topic in (("readings", "readings"), ("commands", "pin/lamp/set"), ("states", "pin/lamp/state")):
        for one in json.loads((ROOT / f"contract/vectors/{kind}.json").read_text()):
            if isinstance(one.get("payload"), str):
                topic = f"reading/{one['sensor']}" if "sensor" in one else topic
                found.append((f"pinloop/pot/{topic}", one["payload"].encode()))
    return found


class Fuzz:
    """Makes messages.

    Args:
        filters: the listener's.
    """

    def __init__(self, seed: int, filters: Sequence[str]) -> None:
        self._dice = random.Random(seed)
        self._filters = [*filters, *(f"pinloop/+/{kind}" for kind in OURS for _ in range(3)), "#"]
        self._vectors = vectors()

    def message(self) -> tuple[str, bytes]:
        """Return a message."""
        dice = self._dice
        topic, payload = dice.choice(self._vectors)
        if dice.random() < 0.4:
            topic = self._topic()
        kind = dice.random()
        if kind < 0.5:
            return topic, self._mutated(payload)
        if kind < 0.75:
            return topic, json.dumps(self._json(4)).encode()
        if kind < 0.85:
            return topic, dice.randbytes(dice.randrange(60))
        if kind < 0.95:
            return topic, f"{dice.uniform(-1e6, 1e6)}e{dice.randrange(-400, 400)}".encode()
        return topic, dice.choice(ODD[-14:] if dice.random() < 0.98 else ODD)

    def _topic(self) -> str:
        levels: list[str] = []
        for level in self._dice.choice(self._filters).split("/"):
            more = self._dice.randrange(4) if level == "#" else level == "+"
            levels += [self._level() for _ in range(more)] if level in ("+", "#") else [level]
        return "/".join(levels) or "x"

    def _level(self) -> str:
        if self._dice.random() < 0.1:
            return f"d{self._dice.randrange(10**6)}"
        return self._dice.choice(WORDS if self._dice.random() < 0.7 else ODD_WORDS)

    def _json(self, deep: int) -> object:
        dice = self._dice
        kind = dice.random() if deep else 0
        if kind < 0.3:
            return dice.choice(SCALARS) if dice.random() < 0.5 else dice.randrange(4000)
        if kind < 0.45:
            return [self._json(deep - 1) for _ in range(dice.randrange(4))]
        return {self._key(): self._json(deep - 1) for _ in range(dice.randrange(5))}

    def _key(self) -> str:
        return self._dice.choice(KEYS) if self._dice.random() < 0.9 else f"k{self._dice.randrange(10**6)}"

    def _mutated(self, payload: bytes) -> bytes:
        """Flip, cut out, double or put in some bytes, or none."""
        changed = bytearray(payload)
        for _ in range(self._dice.randrange(3)):
            at = self._dice.randrange(len(changed) + 1)
            end = at + self._dice.randrange(8)
            match self._dice.randrange(4):
                case 0:
                    changed[at:end] = self._dice.choice((b"7", b"\xff", b" 1", self._dice.randbytes(3)))
                case 1:
                    del changed[at:end]
                case 2:
                    changed[at:at] = changed[at:end]
                case 3:
                    changed[at:at] = self._dice.choice((b"9" * 400, b"1e999", b"NaN", b"{", b"[", b'"', b",", b";"))
        return bytes(changed)


def figure(name: str, **labels: str) -> int:
    """Return a metric's value."""
    return int(REGISTRY.get_sample_value(name, labels) or 0)


def main(seed: int, total: int) -> None:
    """Send them, in four quarters."""
    logging.disable()
    known = parse(FILE)
    # Room that strangers fill within the first quarter: what grows after it grows for ever.
    listener = Hearing(known, 2 << 20)
    own = [text.replace("+", "porch") for one in known.inputs for text in one.own]  # not the broker's, so not strange
    fuzz = Fuzz(seed, [*own, *(text for one in known.inputs for text in one.filters)])
    did: Counter[str] = Counter()
    points = readings = refused = 0
    memory_mb: list[float] = []

    def hear() -> None:
        nonlocal points, readings, refused
        for batch, rejected in listener.hear():
            of_whom = set(map(id, rejected))
            ends = [*batch.starts[1:], len(batch.points)]
            for received, start, end in zip(batch.messages, batch.starts, ends, strict=True):
                outcome = "stored" if end > start else "rejected" if id(received) in of_whom else "neither"
                did[outcome] += 1
                of_whom.discard(id(received))
                if outcome == "neither" and not received.retain:  # it says nothing, or nothing new
                    facts = listener.decoder.decode(received.topic, received.payload)
                    assert all(isinstance(fact, About | Readings) for fact in facts), received
            assert not of_whom
            for point, why in listener.refused:  # a text is the one thing that is taken as it comes
                assert why.startswith("text: "), (point, why)
            refused += len(listener.refused)
            listener.refused.clear()
            points += len(batch.points)
            readings += sum(point.measurement == "readings" for point in batch.points)

    for _quarter in range(4):
        for _ in range(total // 4):
            if listener.put(*fuzz.message(), retain=fuzz._dice.random() < 0.1):
                hear()
        hear()
        memory_mb.append(rss_mb(os.getpid()))
    reasons = {one: figure("listener_messages_rejected_total", reason=one) for one in REASONS}
    assert figure("listener_readings_total", outcome="new") == readings
    print(json.dumps({**did, "points": points, "refused": refused, "reasons": reasons, "memory_mb": memory_mb}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

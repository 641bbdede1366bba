"""The writer against a real SQLite file that refuses in real ways; acknowledgements are only noted."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.readings import encode_reading
from listener.batch import Batch
from listener.dead import DeadLetters
from listener.decode import Decoder
from listener.delivery import Delivery
from listener.queue import Queue, Received
from listener.quick import QuickReader
from listener.spool import Spool
from listener.writer import Writer
from store.sqlite import SqliteStore
from tests.support.wait import until

NOW_NS = 1763690000 * 10**9
POISON = 666


def received(n: int, value: float = 1, topic: str = "pinloop/pot/reading/pot") -> Received:
    """Return a reading as the intake puts it into the queue; its packet id is `n`."""
    return Received(topic, encode_reading(value, n, "k3f9"), False, 1, n, 0, NOW_NS + n)


class Bench:
    """A writer at work in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "data" / "store.db")
        self.dead_path = folder / "dead" / "letters.jsonl"
        self.queue = Queue(1 << 20)
        self.acked: list[int] = []
        self.relay: Callable[[Batch], None] = lambda _batch: None
        self.spool_path = folder / "spool"
        dead = DeadLetters(self.dead_path)
        self.delivery = Delivery(
            self.store,
            Spool(self.spool_path, 1 << 20, 3600),
            dead,
            {},
            batch_max_points=100,
            replay_points_per_s=10**6,
        )
        self.writer = Writer(
            self.queue,
            Decoder("pinloop"),
            self.delivery,
            dead,
            lambda stored: self.acked.extend(one.mid for one in stored),
            batch_max_points=100,
            relay=lambda batch: self.relay(batch),
        )
        self.thread = threading.Thread(target=self.writer.run)

    def put(self, *messages: Received) -> None:
        """Queue messages, and start the writer when it is not at work yet: the first ones are one batch."""
        self.queue.put(messages)
        if not self.thread.is_alive():
            self.thread.start()

    def stored(self) -> list[int]:
        """Return the numbers of the stored readings."""
        return sorted(n for _, _, n, _ in SqliteStore(self.store._path).identities(10**6))

    def dead(self) -> list[dict[str, object]]:
        """Return the dead letters."""
        return [json.loads(text) for text in self.dead_path.read_text().splitlines()] if self.dead_path.exists() else []


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose writer has ended when the test has."""
    monkeypatch.setattr("listener.backoff._LONGEST_S", 0.05)
    running = Bench(tmp_path)
    yield running
    running.queue.close()
    running.delivery.stop()
    if running.thread.ident:
        running.thread.join(5)
    running.delivery.close()
    running.store.close()


@pytest.fixture
def refuse(bench: Bench) -> Callable[[], None]:
    """Return a function after which the database refuses the value POISON, as a constraint of it would."""

    def install() -> None:
        bench.store.devices()
        with sqlite3.connect(bench.store._path) as connection:
            connection.execute(
                f"CREATE TRIGGER no BEFORE INSERT ON samples WHEN NEW.value = {POISON}"
                " BEGIN SELECT RAISE(ABORT, 'no such value'); END"
            )

    return install


def test_what_is_relayed_is_stored_and_acknowledged(bench: Bench) -> None:
    """In the same batches; nobody acts on what could still be lost."""
    told: list[tuple[int, list[int], list[int]]] = []
    bench.relay = lambda batch: told.append((len(batch.points), bench.stored(), list(bench.acked)))
    bench.put(*[received(n) for n in range(3)])
    until(lambda: told)
    assert told[0][1:] == ([0, 1, 2], [0, 1, 2])


def test_messages_are_acknowledged_in_order_when_they_are_stored(bench: Bench) -> None:
    """More than one batch of them."""
    bench.put(*[received(n) for n in range(250)])
    until(lambda: len(bench.acked) == 250)
    assert bench.acked == bench.stored() == list(range(250))


def test_only_the_refused_points_become_dead_letters(bench: Bench, refuse: Callable[[], None]) -> None:
    """First, last, adjacent and all alone; every other point of the batch is stored, every message acknowledged."""
    refuse()
    bad = {0, 40, 41, 99}
    bench.put(*[received(n, POISON if n in bad else 1) for n in range(100)])
    until(lambda: len(bench.acked) == 100)
    assert set(bench.stored()) == set(range(100)) - bad
    assert [letter["reason"] for letter in bench.dead()] == [f"{bench.store._path}: no such value"] * 4
    assert bench.dead()[1]["line"] == f'readings,device=pot pot=666.0,n=40.0,boot="k3f9" {NOW_NS + 40}'


def test_a_dead_letter_that_cannot_be_written_is_waited_for(bench: Bench, refuse: Callable[[], None]) -> None:
    """A point is neither acknowledged nor forgotten while there is no room for it anywhere."""
    refuse()
    bench.dead_path.parent.write_text("in the way")
    bench.spool_path.write_text("in the way")
    bench.put(received(1, POISON), received(2))
    until(lambda: "letters" in (bench.delivery.held() or ""))
    assert bench.acked == []

    bench.dead_path.parent.unlink()
    until(lambda: bench.acked == [1, 2])
    assert len(bench.dead()) == 1
    assert bench.stored() == [2]


def test_while_the_store_fails_messages_are_safe_in_the_spool_and_acknowledged(bench: Bench, tmp_path: Path) -> None:
    """When it works again everything is stored, once, and nothing is a dead letter."""
    (tmp_path / "data").write_text("in the way")
    bench.put(received(1), received(2))
    until(lambda: bench.acked == [1, 2])
    bench.put(received(3))
    until(lambda: bench.acked == [1, 2, 3])
    assert "data" in (bench.delivery.problem() or "")
    assert bench.delivery.held() is None

    (tmp_path / "data").unlink()
    until(lambda: bench.stored() == [1, 2, 3])
    until(lambda: bench.delivery.problem() is None)
    assert bench.dead() == []


def test_messages_are_held_while_store_and_spool_fail(bench: Bench, tmp_path: Path) -> None:
    """Nothing is acknowledged until one of them works again; then everything is, without a restart."""
    (tmp_path / "data").write_text("in the way")
    bench.spool_path.write_text("in the way")
    bench.put(received(1), received(2))
    until(lambda: "spool" in (bench.delivery.held() or ""))
    bench.put(received(3))
    assert bench.acked == []

    (tmp_path / "data").unlink()
    until(lambda: bench.acked == [1, 2, 3])
    assert bench.stored() == [1, 2, 3]
    assert bench.delivery.problem() is bench.delivery.held() is None
    assert bench.dead() == []


def test_a_writer_that_is_stopped_stores_what_it_holds(bench: Bench) -> None:
    """A clean stop leaves nothing for the broker to keep."""
    bench.put(*[received(n) for n in range(300)])
    bench.queue.close()
    bench.delivery.stop()
    bench.thread.join(5)
    assert bench.acked == bench.stored() == list(range(300))


def test_a_writer_that_is_stopped_while_nothing_takes_points_ends_without_acknowledging(
    bench: Bench, tmp_path: Path
) -> None:
    """The broker keeps what is nowhere safe."""
    (tmp_path / "data").write_text("in the way")
    bench.spool_path.write_text("in the way")
    bench.put(received(1))
    until(bench.delivery.held)
    bench.queue.close()
    bench.delivery.stop()
    bench.thread.join(5)
    assert not bench.thread.is_alive()
    assert bench.acked == []


def test_redelivered_and_rejected_messages_are_acknowledged_too(bench: Bench) -> None:
    """Or the broker would bring them for ever."""
    bench.put(received(1), received(1), received(2, topic="pinloop/POT/reading/pot"), received(3))
    until(lambda: bench.acked == [1, 1, 2, 3])
    assert bench.stored() == [1, 3]


@pytest.mark.parametrize(("way", "method"), [(QuickReader, "read"), (Decoder, "decode")])
def test_a_bug_that_one_message_shows_does_not_stop_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, way: type, method: str
) -> None:
    """It is counted as "other" and acknowledged, wherever the bug is."""
    whole = getattr(way, method)

    def broken(self: object, topic: str, payload: bytes) -> object:
        return 1 / 0 if b'"n":2' in payload else whole(self, topic, payload)

    monkeypatch.setattr(QuickReader, "read", lambda *_: None)
    monkeypatch.setattr(way, method, broken)
    bench.put(received(1), received(2), received(3))
    until(lambda: bench.acked == [1, 2, 3])
    assert bench.stored() == [1, 3]

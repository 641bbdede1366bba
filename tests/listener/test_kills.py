"""kill -9 in a loop, under load, with a store that comes and goes: nothing acknowledged is lost, nothing is twice."""

import contextlib
import os
import random
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from contract.readings import encode_reading
from listener.dead_file import read
from store.sqlite import SqliteStore
from tests.support.broker import Broker, Client
from tests.support.nursery import nursery
from tests.support.wait import until

POINTS = (
    "store.written", "writer.safe", "writer.acknowledged", "spool.written", "spool.synced", "spool.saving",
    "spool.trimmed", "follower.stored", "dead.synced", "doubts.keeping",
)  # fmt: skip
KILLS = 200
LONGEST_LIFE_S = 0.3
BURST = 150
POISON = -1  # the store refuses it


class Store:
    """A SQLite file that can be taken away in one step: a link points to its folder, or to what is no folder."""

    def __init__(self, folder: Path) -> None:
        self.link = folder / "data"
        self.up_path, self.down_path = folder / "up", folder / "down"
        self.down_path.write_text("no folder")
        SqliteStore(self.up_path / "store.db").devices()
        with self._opened() as connection:
            connection.execute(
                f"CREATE TRIGGER no BEFORE INSERT ON samples WHEN NEW.value = {POISON}"
                " BEGIN SELECT RAISE(ABORT, 'no such value'); END"
            )
        self.is_up(True)

    def is_up(self, up: bool) -> None:
        """Bring it back or take it away."""
        new = self.link.with_name("new")
        new.symlink_to(self.up_path if up else self.down_path)
        new.replace(self.link)

    def values(self, sensor: str = "pot") -> list[int]:
        """Return all values of the readings, as often as they are there."""
        with self._opened() as connection:
            sql = "SELECT value FROM samples JOIN series ON id = series WHERE field = ? ORDER BY 1"
            return [int(value) for (value,) in connection.execute(sql, (sensor,))]

    def _opened(self) -> contextlib.closing[sqlite3.Connection]:
        return contextlib.closing(sqlite3.connect(self.up_path / "store.db", isolation_level=None))


def publish(client: Client, ending: threading.Event, sent: list[int]) -> None:
    """Publish readings 0, 1, 2, ...; every hundredth has the value that the store refuses, instead.

    Half of them in bursts, under which the listener gathers messages before it writes (`listener/queue.py`).
    """
    n = 0
    while not ending.is_set():
        for _ in range(BURST if n % (2 * BURST) == 0 else 10):
            value = POISON if n % 100 == 99 else 1000 + n
            last = client.client.publish("pinloop/pot/reading/pot", encode_reading(value, n, "k3f9"), 1)
            sent.append(value)
            n += 1
        last.wait_for_publish(5)
        ending.wait(0.02)


@pytest.mark.long
@pytest.mark.timeout(500)
def test_two_hundred_kills_lose_nothing_and_store_nothing_twice(broker: Broker, client: Client, tmp_path: Path) -> None:
    """At random milliseconds and at each commit boundary; the readings have no time of their own: a copy would show."""
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    store = Store(tmp_path)
    dead_path = tmp_path / "dead.jsonl"
    environment = {
        **broker.environment(),
        "PINLOOP_HTTP_PORT": "0",
        "PINLOOP_STORE_URL": f"sqlite:{store.link}/store.db",
        "PINLOOP_DEAD_LETTER_PATH": str(dead_path),
        "PINLOOP_SPOOL_PATH": str(tmp_path / "spool"),
        "PINLOOP_BATCH_MAX_POINTS": "500",
        "PINLOOP_SPOOL_MAX_BYTES": "262144",  # segments of 16 kB: many are begun and deleted
    }
    sent: list[int] = []
    ending = threading.Event()
    publishing = threading.Thread(target=publish, args=(client, ending, sent))
    died_at: dict[str, int] = dict.fromkeys(POINTS, 0)
    with nursery("listener", tmp_path / "listener.out", environment) as lives:
        warm = lives.life()
        until(lambda: client.publish("pinloop/pot/reading/warm", b"1") or store.values("warm"), 20, "it has subscribed")
        os.kill(warm, signal.SIGKILL)
        lives.dead()
        publishing.start()
        for number in range(KILLS):
            failpoint = POINTS[number // 2 % len(POINTS)] if number % 2 else "-"
            store.is_up(dice.random() < 0.5 and not failpoint.startswith(("spool", "follower")))
            pid = lives.life(failpoint)
            deadline_s = time.monotonic() + dice.uniform(0, LONGEST_LIFE_S)
            flip_s = time.monotonic() + dice.uniform(0, LONGEST_LIFE_S / 2)
            while alive(pid) and (
                time.monotonic() < deadline_s or (failpoint != "-" and time.monotonic() < deadline_s + 0.7)
            ):
                if time.monotonic() > flip_s:
                    store.is_up(True)
                time.sleep(0.002)  # the random moment is what is tested
            if failpoint != "-" and not alive(pid):
                died_at[failpoint] += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            lives.dead()
        ending.set()
        publishing.join(30)
        store.is_up(True)
        lives.life()
        good = sorted(value for value in sent if value != POISON)
        until(lambda: len(store.values()) >= len(good), 30, f"all readings (seed {seed})", 0.1)
    assert store.values() == good, f"seed {seed}"
    refused = {one.said["point"]["fields"]["n"] for one in read(dead_path)}
    assert refused == {n for n, value in enumerate(sent) if value == POISON}, f"seed {seed}"
    assert len(good) > 10_000
    assert all(died_at.values()), f"a failpoint that was never reached: {died_at}"


def alive(pid: int) -> bool:
    """Tell whether a process runs (a dead one is reaped by its parent, or about to be)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"

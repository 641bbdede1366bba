"""The listener as a process, between a real mosquitto and a real SQLite file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.readings import encode_reading
from store.sqlite import SqliteStore
from tests.support.broker import Broker, Client
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.wait import until


class Listener:
    """A listener process that can be killed and started again, and the store that it writes to."""

    def __init__(self, spawn: Callable[..., Child], broker: Broker, folder: Path) -> None:
        self._spawn = spawn
        self.folder = folder
        self.port = free_port()
        self.store = SqliteStore(folder / "store.db")
        self.process: Child | None = None
        self._env = {
            **broker.environment(),
            "PINLOOP_HTTP_PORT": str(self.port),
            "PINLOOP_STORE_URL": f"sqlite:{folder / 'store.db'}",
            "PINLOOP_LISTENER_DEAD_LETTER_PATH": str(folder / "dead.jsonl"),
        }

    def start(self) -> None:
        self.process = self._spawn(["python", "-m", "listener"], env=self._env, name="listener")


@pytest.fixture
def listener(spawn: Callable[..., Child], broker: Broker, tmp_path: Path) -> Iterator[Listener]:
    """A listener that runs."""
    running = Listener(spawn, broker, tmp_path / "data")
    running.start()
    yield running
    running.store.close()


def test_a_reading_is_in_the_store_soon_after_it_was_published(listener: Listener, client: Client) -> None:
    """One reading, from mosquitto into SQLite."""
    until(lambda: b"broker connected" in listener.process.output.read_bytes(), what="the listener connects")
    client.publish("pinloop/pot/reading/pot", encode_reading(61.5, 1, "k3f9"))
    until(lambda: listener.store.latest("pot")["pot"][0] == 61.5)

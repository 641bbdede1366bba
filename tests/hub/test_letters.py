"""The listener's dead letters, as the hub tells them."""

import threading
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import prometheus_client
import pytest

from hub.feed import Feed
from hub.letters import Letters
from hub.live import Picture
from hub.views import notices
from listener.batch import Kept
from listener.dead import DeadLetters
from listener.dead_file import read, remove
from service.health import Health
from tests.support.ports import free_port


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[str]:
    """Return the address of something that shows this process's metrics, among them the listener's."""
    server = make_server("127.0.0.1", 0, prometheus_client.make_wsgi_app(), handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def picture() -> Picture:
    return Picture(Feed(lambda: 1000.0), lambda: 1000.0)


def test_dead_letters_are_told_while_there_are_some(listener: str, tmp_path: Path) -> None:
    """Those that are replayed or dropped are gone at the next look."""
    dead, shown = DeadLetters(tmp_path / "dead.jsonl"), picture()
    letters = Letters(listener, shown)
    letters.look()
    assert (shown.dead_letters(), notices(shown)) == (0, [])
    dead.add_messages([(Kept("pinloop/pot/status", b"dancing", number), "status") for number in range(3)])
    letters.look()
    assert (shown.dead_letters(), dead.problem()) == (3, f"3 in {tmp_path / 'dead.jsonl'}")
    remove(tmp_path / "dead.jsonl", [one.id for one in read(tmp_path / "dead.jsonl")])
    letters.look()
    assert (shown.dead_letters(), dead.problem()) == (0, None)


def test_a_listener_that_does_not_answer_is_told(listener: str) -> None:
    """And something else on its port is not taken for it."""
    shown = picture()
    Letters(f"http://127.0.0.1:{free_port()}", shown).look()
    (notice,) = notices(shown)
    assert notice["says"] == "No connection from the hub to the listener"
    assert "does not answer" in notice["problem"]
    Letters(listener + "/elsewhere?name[]=nothing&x=", shown).look()
    assert "is not the listener" in notices(shown)[0]["problem"]


def test_without_an_address_nobody_is_asked() -> None:
    """A hub that cannot reach the listener says nothing of it."""
    letters = Letters("", picture())
    letters.start()
    letters.stop()
    assert notices(picture()) == []


class FullListener:
    """A listener as the hub asks it: its metrics, and what its checks say."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self._health = Health("listener")
        for check in ("store", "spool", "broker"):
            self._health.add(check, lambda check=check: self.problems.get(check))  # type: ignore[misc]
        self._server = make_server("127.0.0.1", 0, self._health.wsgi, handler_class=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_readings_that_are_not_stored_are_told_and_since_when() -> None:
    """Else the console says "live" over a full disk; while the broker is away there is nothing to store."""
    listener, clock = FullListener(), [1000.0]
    shown = Picture(Feed(lambda: clock[0]), lambda: clock[0])
    letters = Letters(listener.url, shown)
    try:
        letters.look()
        assert notices(shown) == []
        listener.problems = {"broker": "not connected"}
        letters.look()
        assert notices(shown) == []
        listener.problems["store"] = "disk is full"
        letters.look()
        clock[0] = 1060.0
        listener.problems["spool"] = "nothing is acknowledged"
        letters.look()
        (notice,) = notices(shown)
        assert (notice["says"], notice["since_s"]) == ("Readings are not being stored", 1000.0)
        assert notice["problem"] == "store: disk is full; spool: nothing is acknowledged"
        listener.problems = {}
        letters.look()
        assert notices(shown) == []
        listener.problems = {"store": "disk is full"}
        letters.look()
    finally:
        listener.stop()
    letters.look()
    assert [one["says"] for one in notices(shown)] == ["No connection from the hub to the listener"]

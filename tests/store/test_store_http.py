"""The bounds of a request to a store, by servers that drip, never end and point elsewhere."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from store import http
from store.errors import StoreError
from store.http import Client
from store.influx import InfluxStore
from store.points import Point

POT = Point("readings", (("device", "pot"),), {"pot": 1.0}, 1763690000 * 10**9)
Answering = Callable[[socket.socket], None]


@pytest.fixture(autouse=True)
def watched_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the watch look more often."""
    monkeypatch.setattr(http, "_LOOK_S", 0.01)


@pytest.fixture
def serve() -> Iterator[Callable[[Answering], str]]:
    """Return `serve(answering)`: the URL of a server that reads a request and leaves the answer to `answering`."""
    listening: list[socket.socket] = []

    def start(answering: Answering) -> str:
        sock = socket.create_server(("127.0.0.1", 0))
        listening.append(sock)

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                answering(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(sock.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{sock.getsockname()[1]}"

    yield start
    for sock in listening:
        sock.close()


def dripping(beginning: bytes) -> Answering:
    """Return what sends this, and then a byte now and then for as long as somebody listens."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while True:
            time.sleep(0.02)
            connection.sendall(b"a")

    return answer


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"HTTP/1.1 204 No Content\r\nX: ",
        b"HTTP/1.1 500 x\r\nContent-Length: 9999\r\n\r\n",
        b"HTTP/1.1 200 x\r\n\r\n",
    ],
    ids=["status", "headers", "body", "body without a length"],
)
def test_an_answer_that_drips_is_given_up(serve: Callable[[Answering], str], beginning: bytes) -> None:
    """Each byte comes soon enough for a socket's time-out; the whole would never have come."""
    client = Client(serve(dripping(beginning)), {})
    begun_s = time.monotonic()
    with pytest.raises(StoreError, match="takes longer than 0.2 s") as caught:
        client.post("/", whole_s=0.2, most_bytes=99999, body=b"x")
    assert time.monotonic() - begun_s < 3
    assert not caught.value.permanent


def test_a_handshake_that_drips_is_given_up(serve: Callable[[Answering], str]) -> None:
    """The beginning of a record of TLS, and then its bytes one by one."""
    client = Client(serve(dripping(b"\x16\x03\x03\x3f\xff")).replace("http:", "https:"), {})
    begun_s = time.monotonic()
    with pytest.raises(StoreError, match="takes longer than 0.2 s"):
        client.post("/", whole_s=0.2, most_bytes=99999, body=b"x")
    assert time.monotonic() - begun_s < 3


def test_the_next_request_does_not_suffer_from_one_that_was_given_up(serve: Callable[[Answering], str]) -> None:
    """Its connection is not used again, and its time is not the other's."""
    turns: list[Answering] = [dripping(b"HTTP/1.1 "), lambda sock: sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")]
    client = Client(serve(lambda sock: turns.pop(0)(sock)), {})
    with pytest.raises(StoreError):
        client.post("/", whole_s=0.1, most_bytes=10, body=b"x")
    assert client.post("/", whole_s=5, most_bytes=10, body=b"x").status == 204


def test_an_answer_without_an_end_is_cut(serve: Callable[[Answering], str]) -> None:
    """It would have filled the memory."""

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 500 x\r\nContent-Encoding: gzip\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))

    answer = Client(serve(pour), {}).post("/", whole_s=5, most_bytes=1000, body=b"x")
    assert (answer.status, answer.body) == (500, bytes(1000))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n<html>Please sign in.\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["a page", "nothing", "a redirect"],
)
def test_nothing_but_204_says_that_points_are_stored(serve: Callable[[Answering], str], answer: bytes) -> None:
    """A proxy whose login has ended answers everything with its page: the points wait."""
    store = InfluxStore(serve(lambda sock: sock.sendall(answer)), "o", "b", "t")
    with pytest.raises(StoreError) as caught:
        store.write([POT])
    assert not caught.value.permanent

"""Clients that send a request before the one before it is answered, and go away at odd moments."""

import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from service.health import Health
from service.http import HttpServer
from service.http_channel import Channel
from service.settings import HttpSettings
from tests.support.wait import until

MOST_BODY_BYTES = 20_000
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"


class App:
    """Answers when `go` is set.

    Attributes:
        waiting: a request waits for that.
    """

    def __init__(self) -> None:
        self.go = threading.Event()
        self.waiting = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        self.waiting.set()
        self.go.wait(10)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(len(body)).encode()]


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def server(app: App) -> Iterator[HttpServer]:
    running = HttpServer(HttpSettings(http_port=0), Health("pump"), app, threads=2, max_body_bytes=MOST_BODY_BYTES)
    running.start()
    yield running
    app.go.set()
    running.stop()


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 10)


def test_who_has_only_begun_the_head_of_a_next_request_costs_nobody_else_theirs(server: HttpServer, app: App) -> None:
    """There is no body to be refused in it: looking for one closed the connection of whoever sent just then."""
    size = MOST_BODY_BYTES - 100
    hogs = [connect(server) for _ in range(8)]
    for one in hogs:
        one.sendall(POST % size + b"\r\n" + bytes(size) + b"GET / HTTP/1.1\r\nHo")
    until(lambda: server._bodies.held_bytes == 8 * size, 10)
    with connect(server) as victim:
        victim.sendall(POST % 1000 + b"\r\n" + bytes(1000))
        until(lambda: server._bodies.held_bytes > server._bodies.most_bytes, 10)
        app.go.set()
        assert victim.recv(100).startswith(b"HTTP/1.1 200 ")
    for one in hogs:
        one.close()


def test_connections_are_closed_by_the_loop_alone(
    server: HttpServer, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that closed one, saying 100 Continue to who had gone, could end the loop while that looked at all."""
    closed_by: list[str] = []
    close = Channel.handle_close

    def noted(one: Channel) -> None:
        closed_by.append(threading.current_thread().name)
        close(one)

    monkeypatch.setattr(Channel, "handle_close", noted)
    for round_ in range(30):
        app.go.clear()
        app.waiting.clear()
        with connect(server) as gone:
            gone.sendall(POST % 1 + b"\r\na" + POST % 1 + b"Expect: 100-continue\r\n\r\n")
            assert app.waiting.wait(10)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
        app.go.set()
        until(lambda round_=round_: len(closed_by) > round_, 10)  # type: ignore[misc]
    assert set(closed_by) == {"http"}


def test_100_continue_is_said_behind_the_answer_to_the_request_before(server: HttpServer, app: App) -> None:
    """In their order, and the body that follows is taken."""
    with connect(server) as client:
        client.sendall(POST % 2 + b"\r\nab" + POST % 3 + b"Expect: 100-continue\r\n\r\n")
        app.go.set()
        said = b""
        while b"100 Continue\r\n\r\n" not in said:
            said += client.recv(1000)
        assert said.index(b"200 OK") < said.index(b"100 Continue")
        client.sendall(b"cde")
        assert b"200 OK" in client.recv(1000)


def test_what_waited_behind_a_request_whose_client_has_gone_is_not_counted_for_ever(
    server: HttpServer, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop hears of the end when the answer is out and the next request has not had its turn."""
    left: list[int] = []
    finished = Channel.task_class.finish

    def finish(task: Any) -> None:
        finished(task)
        left.append(len(task.channel.requests))
        task.channel.handle_close()

    monkeypatch.setattr(Channel.task_class, "finish", finish)
    with connect(server) as client:
        client.sendall(2 * (POST % 1000 + b"\r\n" + bytes(1000)))
        until(lambda: server._bodies.held_bytes == 2000, 10)
        app.go.set()
        until(lambda: left, 10)
    assert left == [2]
    until(lambda: server._bodies.held_bytes == 0, 5, "nothing is held of a connection that ended")

"""Bodies that are being received: a bound for all of them, and small ones come through."""

import contextlib
import json
import os
import socket
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from bench.processes import peak_rss_mb, rss_mb
from service.health import Health
from service.http import HttpServer
from service.http_bodies import Bodies
from service.settings import HttpSettings
from tests.support.wait import until

MOST_BODY_BYTES = 1 << 20
SENDERS = 150


class Sender:
    """A connection as `Bodies` sees it."""

    def __init__(self, bodies: Bodies, whole: bool = False) -> None:
        self._bodies = bodies
        self._bytes = 0
        self._whole = whole
        self.refused = False

    def send(self, size_bytes: int) -> None:
        self._bytes = size_bytes
        self._bodies.weigh(self)
        self._bodies.relieve()

    def held_bytes(self) -> int:
        return self._bytes

    def receiving(self) -> bool:
        return not self._whole

    def refuse(self) -> None:
        self.refused = True
        self._bytes = 0


def test_the_largest_that_is_still_received_has_to_go() -> None:
    """Not the one that comes last, and none that is whole."""
    bodies = Bodies(100)
    small, large, whole = Sender(bodies), Sender(bodies), Sender(bodies, whole=True)
    whole.send(50)
    large.send(40)
    small.send(20)
    assert [one.refused for one in (small, large, whole)] == [False, True, False]
    assert bodies.held_bytes == 70
    for one in (whole, small):
        one.send(0)
    assert bodies.held_bytes == 0


def echo(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer with the length of the body."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(body)).encode()]


@pytest.fixture
def server() -> Iterator[HttpServer]:
    running = HttpServer(HttpSettings(http_port=0), Health("pump"), echo, max_body_bytes=MOST_BODY_BYTES)
    running.start()
    yield running
    running.stop()


def posted(server: HttpServer, body: bytes) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", body, timeout=5) as answer:
        return int(answer.read())


def begin(server: HttpServer, size_bytes: int, held: contextlib.ExitStack) -> socket.socket:
    """Send so much of a body that is said to be a little longer."""
    one = held.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
    one.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (size_bytes + 1))
    with contextlib.suppress(OSError):  # refused meanwhile
        one.sendall(bytes(size_bytes))
    return one


def test_many_large_bodies_stay_within_a_bound_and_small_posts_are_answered(server: HttpServer) -> None:
    """150 MB of bodies that do not end: 8 MB are held, the others are asked to come again later."""
    bodies = server._bodies
    Path("/proc/self/clear_refs").write_text("5")  # the peak is of now on, not of the tests before (proc(5))
    before_mb = rss_mb(os.getpid())
    refused = REGISTRY.get_sample_value("http_bodies_refused_total") or 0
    with contextlib.ExitStack() as held:
        senders = [begin(server, MOST_BODY_BYTES - 10, held) for _ in range(SENDERS)]
        assert posted(server, b"small") == 5
        assert posted(server, bytes(100_000)) == 100_000
        assert bodies.held_bytes <= bodies.most_bytes == 8 * MOST_BODY_BYTES
        # the small ones need not wait until all of these have been read
        until(lambda: (REGISTRY.get_sample_value("http_bodies_refused_total") or 0) - refused > 100)
        assert (REGISTRY.get_sample_value("http_bodies_refused_total") or 0) - refused < SENDERS
        assert peak_rss_mb(os.getpid()) < before_mb + 60
        answers = []
        for one in senders:
            one.settimeout(0.05)
            with contextlib.suppress(OSError):  # still waiting for its last byte, or reset while it sent
                answers.append(one.recv(65536))
    head, _, body = next(one for one in answers if one).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5" in head
    assert json.loads(body)["status"] == 503
    until(lambda: bodies.held_bytes == 0, 10, "nothing is held of connections that ended")


def test_many_small_bodies_that_do_not_end_do_not_keep_a_whole_one_out(server: HttpServer) -> None:
    """Each of 300 holds a little; one that sends less comes through, and so does what others leave."""
    with contextlib.ExitStack() as held:
        for _ in range(300):
            begin(server, 40_000, held)
        until(lambda: server._bodies.held_bytes > 7 * MOST_BODY_BYTES, 5)
        assert all(posted(server, bytes(20_000)) == 20_000 for _ in range(20))
    until(lambda: server._bodies.held_bytes == 0, 10)
    assert posted(server, bytes(900_000)) == 900_000

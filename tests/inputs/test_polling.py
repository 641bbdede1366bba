"""Devices asked over HTTP: bounded, one at a time, a dead one costs nobody else anything."""

import gzip
import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import REGISTRY

from listener.fetch import FetchError, fetch
from listener.handover import Handed, Handover
from listener.poller import Poller
from listener.polling import Target, chunks
from listener.queue import Queue
from tests.support.wait import until


@contextmanager
def answering(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve `answer` to every GET; yield the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join(5)


def send(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """Answer."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def test_a_body_is_fetched() -> None:
    """The healthy case."""
    with answering(lambda handler: send(handler, 200, b"hello")) as url:
        assert fetch(url, 5) == b"hello"


@pytest.mark.parametrize(
    ("status", "body", "why"), [(500, b"", "answers 500"), (404, b"", "answers 404"), (200, b"123456", "more than 5")]
)
def test_an_answer_that_is_no_good_is_told(status: int, body: bytes, why: str) -> None:
    """By its status, or because it is too long."""
    with answering(lambda handler: send(handler, status, body)) as url, pytest.raises(FetchError, match=why):
        fetch(url, 5)


def test_a_redirect_is_not_followed() -> None:
    """A device must not make us ask elsewhere."""
    with answering(lambda handler: send(handler, 200, b"secret")) as other:

        def away(handler: http.server.BaseHTTPRequestHandler) -> None:
            send(handler, 302, b"", Location=other)

        with answering(away) as url, pytest.raises(FetchError, match="answers 302"):
            fetch(url, 100)


def test_a_device_that_drips_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, all of them would not."""
    monkeypatch.setattr("listener.fetch._WHOLE_S", 0.2)
    over = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        send(handler, 200, b"")
        while not over.wait(0.02):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    with answering(drip) as url:
        with pytest.raises(FetchError, match="takes longer"):
            fetch(url, 10**6)
        over.set()


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.0 ", b"HTTP/1.0 200 OK\r\nX-Long: ", b"HTTP/1.0 100 Continue\r\n"])
def test_a_device_that_drips_its_header_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch, begins: bytes) -> None:
    """Its status line, one header, or header after header: it holds a thread no longer than one that drips its body."""
    monkeypatch.setattr("listener.fetch._WHOLE_S", 0.3)
    over = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(begins)
            while not over.wait(0.02):
                handler.wfile.write(b"a: b\r\n" if begins.endswith(b"\n") else b"2")
        except OSError:
            return

    with answering(drip) as url:
        begun_s = time.monotonic()
        with pytest.raises(FetchError, match="takes longer than 0.3 s"):
            fetch(url, 10**6)
        took_s = time.monotonic() - begun_s
        over.set()
    assert took_s < 2


def test_a_packed_body_is_unpacked_as_far_as_it_may_be_long() -> None:
    """Plain is asked for; a device that packs all the same is read, a bomb is not."""
    asked: list[str | None] = []

    def packed(body: bytes, encoding: str = "gzip") -> Callable[[http.server.BaseHTTPRequestHandler], None]:
        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            asked.append(handler.headers["Accept-Encoding"])
            send(handler, 200, body, **{"Content-Encoding": encoding})

        return answer

    with answering(packed(gzip.compress(b"hello"))) as url:
        assert fetch(url, 50) == b"hello"
    assert asked == ["identity"]
    for body, encoding, why in (
        (gzip.compress(bytes(10**7)), "gzip", "more than 20000 bytes"),
        (gzip.compress(b"hello")[:-9], "gzip", "cannot be unpacked"),
        (b"hello", "deflate", "cannot be unpacked"),
        (b"hello", "br", "answers in 'br'"),
    ):
        with answering(packed(body, encoding)) as url, pytest.raises(FetchError, match=why):
            fetch(url, 20_000)


def test_a_body_that_ends_before_its_length_is_no_answer() -> None:
    """A device that restarts in the middle of it."""
    half = answering(lambda handler: send(handler, 200, b"half", **{"Content-Length": "8"}))
    with half as url, pytest.raises(FetchError, match="ends 4 bytes too early|IncompleteRead"):
        fetch(url, 100)


def test_nobody_there_is_told_at_once() -> None:
    """A port that is closed."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError, match="is not there"):
            fetch(f"http://127.0.0.1:{closed.getsockname()[1]}/", 5)


def log_target() -> Target:
    """Return a node with a log."""
    return Target("node", "http://node/", "http:isems", 10, is_log=True)


def test_of_a_log_only_new_lines_are_taken_and_remembered_when_they_are_safe() -> None:
    """What was not stored comes again."""
    target = log_target()
    [(message, note)] = chunks(target, b"a\nb\n\n")
    assert message == b"a\nb"
    assert [again for again, _ in chunks(target, b"a\nb\n")] == [b"a\nb"]
    note()
    assert [again for again, _ in chunks(target, b"a\nb\nc\n")] == [b"c"]
    assert list(chunks(target, b"a\nb\n")) == []
    list(chunks(target, b"z\n"))  # a log that begins anew is remembered as it is now
    assert target.seen == set()


def test_a_line_that_is_just_being_written_waits_for_its_end() -> None:
    """13 of 13.4586 is a number, too, and the line that is known by its time would have kept it for ever."""
    target = log_target()
    assert [message for message, _ in chunks(target, b"a;1\nb;13")] == [b"a;1"]
    assert [message for message, _ in chunks(target, b"a;1\nb;13.45")] == [b"a;1"]
    assert [message for message, _ in chunks(target, b"a;1\nb;13.4586\n")] == [b"a;1\nb;13.4586"]


def test_a_last_line_without_an_end_is_taken_when_it_stays_as_it_is() -> None:
    """Some nodes end no line but by the next one."""
    target = log_target()
    assert list(chunks(target, b"b;13")) == []
    [(message, note)] = chunks(target, b"b;13")
    note()
    assert message == b"b;13"
    assert list(chunks(target, b"b;13")) == []


def test_a_long_log_comes_in_messages_that_the_listener_reads() -> None:
    """None is longer than a payload may be, or cut within a line."""
    body = b"\n".join(b"%06d;%s" % (number, b"x" * 300) for number in range(1000))
    parts = [message for message, _ in chunks(log_target(), body + b"\n")]
    assert b"\n".join(parts) == body
    assert max(map(len, parts)) <= 65536
    assert len(parts) > 2


class Store:
    """Stands at the queue's other end and calls everything safe."""

    def __init__(self, queue: Queue) -> None:
        self.messages: list[Handed] = []
        self._queue = queue
        self._ack = Handover.telling(lambda _batch: None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while batch := self._queue.take(10):
            self.messages += [one for one in batch if isinstance(one, Handed)]
            self._ack(batch)


@pytest.fixture
def store() -> Iterator[tuple[Store, Handover]]:
    """A store, and the way to it."""
    queue = Queue(1 << 20)
    yield Store(queue), Handover(queue)
    queue.close()


def test_a_dead_device_is_offline_once_and_costs_nobody_else_anything(store: tuple[Store, Handover]) -> None:
    """The live one is asked at its interval; the dead one less and less often, and never twice at once."""
    behind, handover = store
    asking: list[str] = []
    at_once: list[int] = []

    def get(url: str, _most: int) -> bytes:
        asking.append(url)
        at_once.append(asking.count("dead"))
        if url == "dead":
            until(lambda: len(behind.messages) > 5, 10)
            asking.remove("dead")
            raise FetchError("does not answer in time")
        return b"{}"

    dead = Target("dead", "dead", "http:espnet/dead", 0.01, says_offline=True)
    live = Target("live", "live", "http:espnet/live", 0.01, says_offline=True)
    poller = Poller([dead, live], handover, get)
    poller.start()
    until(lambda: len(behind.messages) > 20, 10)
    poller.stop()
    assert [(one.topic, one.payload) for one in behind.messages if one.topic.endswith("dead")] == [
        ("http:espnet/dead", b"")
    ]
    assert max(at_once) == 1


def test_a_dead_device_is_asked_half_as_often_each_time_and_as_before_when_it_answers(
    store: tuple[Store, Handover],
) -> None:
    """At most eight times less often; it is counted how each poll ended."""
    answers: list[bool] = [False, False, False, False, True, True, False]

    def get(_url: str, _most: int) -> bytes:
        if not answers.pop(0):
            raise FetchError("does not answer in time")
        return b"{}"

    def counted(outcome: str) -> float:
        return REGISTRY.get_sample_value("listener_polls_total", {"outcome": outcome}) or 0

    before = counted("failed"), counted("stored")
    target = Target("porch", "porch", "http:espnet/porch", 10.0, says_offline=True)
    poller = Poller([target], store[1], get)
    waits_s = []
    while answers:
        poller._due.clear()
        poller._turn(target)
        waits_s.append(round((poller._due[0][0] - time.monotonic()) / 10))
    assert waits_s == [2, 4, 8, 8, 1, 1, 2]
    assert (counted("failed") - before[0], counted("stored") - before[1]) == (5, 2)


def test_a_store_that_takes_nothing_makes_lines_come_again(
    store: tuple[Store, Handover], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are remembered only when they are safe."""
    monkeypatch.setattr("listener.poller._SAFE_S", 0.05)
    behind, handover = store
    full = Queue(1)
    target = log_target()
    stuck = Poller([target], Handover(full), lambda _url, _most: b"a\nb")
    begun_s = time.monotonic()
    assert stuck.ask(target)
    assert time.monotonic() - begun_s < 5
    assert target.seen == set()
    assert Poller([target], handover, lambda _url, _most: b"a\nb").ask(target)
    assert len(target.seen) == 2
    assert [one.payload for one in behind.messages] == [b"a\nb"]

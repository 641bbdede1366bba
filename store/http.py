"""HTTP to a store, bounded: no request takes long and no answer is large, whatever the server does.

The time-out of a socket counts for each read alone: an answer that comes in drips, a byte now and then, would hold its
caller for ever, who meanwhile gives nothing to the spool. So a thread watches the requests and shuts the connections of
those whose time is over.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from store.errors import StoreError

__all__ = ["Answer", "Client"]

_SILENCE_S = 10.0
_LOOK_S = 1.0


class Answer(NamedTuple):
    """An answer.

    Attributes:
        body: its beginning, when it is longer than was asked for.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Connections to the server at `url`; used by any thread.

    Args:
        headers: of each request.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._pool = urllib3.connection_from_url(
            url, headers=dict(headers), timeout=_SILENCE_S, retries=False, maxsize=4
        )
        secure = isinstance(self._pool, urllib3.HTTPSConnectionPool)
        self._pool.ConnectionCls = _Secure if secure else _Watched

    def post(self, path: str, *, whole_s: float, most_bytes: int, **request: Any) -> Answer:
        """Send a POST and return the answer; redirects are not followed, nothing is unpacked.

        Args:
            whole_s: how long all of it may take; a second more is possible.
            most_bytes: the body is cut there, and the connection closed.
            request: urllib3's.

        Raises:
            urllib3.exceptions.HTTPError, OSError: there is no answer.
            StoreError: it takes too long.
        """
        with _WATCH.over(whole_s) as turn:
            try:
                found = self._pool.request("POST", path, redirect=False, preload_content=False, **request)
                try:
                    body = found.read(most_bytes, decode_content=False)
                finally:
                    found.close() if found.length_remaining or not found.closed else found.release_conn()
            except (urllib3.exceptions.HTTPError, OSError):
                if not turn.is_over:
                    raise
        if turn.is_over:  # a body without a length ends with its socket
            raise StoreError(f"takes longer than {whole_s:g} s")
        return Answer(found.status, found.headers, body)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class _Turn:
    """A request: until when, by time.monotonic(), it may take, and the socket that it is on.

    The connection does not always tell of it: not during a TLS handshake, nor while a body is read that ends with it.
    """

    def __init__(self, end_s: float) -> None:
        self.end_s = end_s
        self.sock: socket.socket | None = None
        self.connecting: socket.socket | None = None  # a descriptor of our own for it
        self.is_over = False

    def shut(self) -> None:
        """End it; who reads or writes gets an error or an end."""
        self.is_over = True
        sock = self.sock or self.connecting
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which takes its state from under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Watch:
    """Ends the requests that take too long."""

    def __init__(self) -> None:
        self._turns: set[_Turn] = set()
        self._begun = threading.Condition()
        self._thread: threading.Thread | None = None
        self._local = threading.local()

    @contextlib.contextmanager
    def over(self, whole_s: float) -> Iterator[_Turn]:
        """Watch over the request of this thread in the `with` block."""
        turn = self._local.turn = _Turn(time.monotonic() + whole_s)
        with self._begun:
            self._turns.add(turn)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="store watch", daemon=True)
                self._thread.start()
            self._begun.notify()
        try:
            yield turn
        finally:
            self._local.turn = None
            with self._begun:
                self._turns.discard(turn)
            if turn.connecting is not None:
                turn.connecting.close()

    def note(self, sock: socket.socket | None) -> None:
        """Note the socket that the request of this thread is on, if it has one."""
        turn = getattr(self._local, "turn", None)
        if turn is not None:
            turn.sock = sock

    def note_connecting(self, sock: socket.socket) -> None:
        """Note a socket whose handshake is to come: that will take it over, and leave `sock` empty."""
        turn = getattr(self._local, "turn", None)
        if turn is not None and turn.connecting is None:
            turn.connecting = sock.dup()

    def _run(self) -> None:
        while True:
            with self._begun:
                self._begun.wait_for(lambda: self._turns)
                late = [turn for turn in self._turns if turn.end_s <= time.monotonic()]
                for turn in late:  # within the lock: the connection is not another request's yet
                    turn.shut()
            time.sleep(_LOOK_S)


_WATCH = _Watch()


class _Watched(HTTPConnection):
    """Tells the watch of its socket: an HTTPS connection is one of these, too."""

    def request(self, *args: Any, **options: Any) -> None:
        _WATCH.note(self.sock)
        super().request(*args, **options)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        _WATCH.note(self.sock)
        return super().getresponse()


class _Secure(_Watched, HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _WATCH.note_connecting(sock)
        return sock

"""A connection of a service's HTTP server: waitress's own, whose requests end, and one that speaks TLS."""

import contextlib
import ssl
import time
from typing import Any

import waitress.channel
import waitress.task
import waitress.utilities
from prometheus_client import Counter

from service import logs, problems
from service.http_bodies import RETRY_AFTER_S
from service.http_certificate import Certificate
from service.tls_socket import CHUNK_BYTES, NotTlsError, TlsSocket

__all__ = ["Channel", "TlsChannel"]

_REQUEST_TIMEOUT_S = 30  # from a request's first byte to its last
REFUSED = Counter(
    "http_tls_refused_total",
    "Connections to the HTTPS port that came to nothing: plain (no TLS), handshake (it failed, or the client refuses"
    " the certificate), unfinished (silent, or gone before its end).",
    ["reason"],
)
for _reason in ("plain", "handshake", "unfinished"):
    REFUSED.labels(_reason)


class _TooMuch(waitress.utilities.Error):  # type: ignore[misc]
    code, reason = 503, "Service Unavailable"


class _ErrorTask(waitress.task.ErrorTask):  # type: ignore[misc]
    """Answers what waitress cannot read (400, 413, 431, 501), what failed outside of the application (500), 503."""

    def execute(self) -> None:
        """Write the answer; runs on one of the server's threads."""
        error = self.request.error
        body = problems.encode(error.code, "size" if error.code == 413 else f"http_{error.code}", str(error.body))
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", problems.MEDIA_TYPE))
        if error.code == _TooMuch.code:
            self.response_headers.append(("Retry-After", str(RETRY_AFTER_S)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(waitress.channel.HTTPChannel):  # type: ignore[misc]
    """A connection whose requests have an end, and whose bodies count among the server's `Bodies`."""

    error_task_class = _ErrorTask
    request: Any = None  # the one that is being received
    _closed = False
    _since_s: float | None = None  # when the request that is being read began, time.monotonic()

    def received(self, data: bytes) -> bool:
        """Take bytes; runs on the loop's thread."""
        taken = bool(super().received(data))
        if self.request is None:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = time.monotonic()
        self.server.bodies.weigh(self)
        self.server.bodies.relieve()
        return taken

    def service(self) -> None:
        """Answer a request; runs on one of the server's threads."""
        try:
            super().service()
        finally:
            self.server.bodies.weigh(self)

    def handle_close(self) -> None:
        """Close, from whichever side."""
        self._closed = True
        super().handle_close()
        self.server.bodies.weigh(self)

    def send_continue(self) -> None:
        """Have the loop say 100 Continue: waitress's own sends at once, and on a worker's thread might close."""
        said = b"HTTP/1.1 100 Continue\r\n\r\n"
        self.request.expect_continue = self.request.completed = False
        with self.outbuf_lock:
            self.outbufs[-1].append(said)
            self.current_outbuf_count += len(said)
            self.total_outbufs_len += len(said)
            self.sent_continue = True

    def held_bytes(self) -> int:
        """See `Sender`. Without the lock: a close may come while it is held."""
        if self._closed:  # what waits behind the request that is answered is never asked for again
            return 0
        begun = self.request  # once: the loop's thread may end it meanwhile
        return sum(one.body_bytes_received for one in (*self.requests, begun) if one is not None)

    def receiving(self) -> bool:
        """See `Sender`."""
        return self.request is not None and self.request.body_rcv is not None and not self._closed

    def refuse(self) -> None:
        """See `Sender`."""
        with self.requests_lock:
            request, self.request = self.request, None
            request.body_rcv.getbuf().close()
            request.error, request.completed, request.body_bytes_received = _TooMuch("too much at once"), True, 0
            self.requests.append(request)
            if len(self.requests) == 1:  # otherwise the one before it goes on with this one
                self.server.add_task(self)

    def is_over(self, now_s: float) -> bool:
        """Tell whether the request that is being read takes too long."""
        return self._since_s is not None and now_s - self._since_s > _REQUEST_TIMEOUT_S


class TlsChannel(Channel):
    """A connection to the HTTPS port. A handshake has to end like a request: in waitress's own time without a byte."""

    def __init__(self, certificate: Certificate, server: Any, sock: Any, addr: Any, adj: Any, map: Any) -> None:  # noqa: A002  (waitress's word)
        self._secure = TlsSocket(sock, certificate.context)  # waitress forgets its own when it closes, and closes twice
        super().__init__(server, self._secure, addr, adj, map=map)
        self.sendbuf_len = CHUNK_BYTES  # more than that would be copied for nothing
        self._refused = False

    def handle_read(self) -> None:
        """Take what has come; runs on the loop's thread."""
        try:
            data = self._secure.receive()
        except NotTlsError:
            with contextlib.suppress(OSError):
                self._secure.send_plain(_no_tls())
            self._refuse("plain", "")
            return
        except ssl.SSLError as error:
            if self._secure.established or isinstance(error, ssl.SSLEOFError):
                self.handle_close()
            else:
                self._refuse("handshake", error.reason or str(error))
            return
        except OSError:
            self.handle_close()
            return
        if data:
            self.last_activity = time.time()
            self.received(data)
        elif data is not None:
            self.handle_close()

    def writable(self) -> bool:
        """Tell whether there is something to send; runs on the loop's thread."""
        return bool(super().writable() or self._secure.pending)

    def handle_write(self) -> None:
        """Send; runs on the loop's thread."""
        with contextlib.suppress(OSError):  # reading tells of it
            self._secure.flush()
        super().handle_write()

    def handle_close(self) -> None:
        """Close, from whichever side; runs on the loop's thread."""
        if not self._secure.established and not self._refused:
            self._refused = True
            REFUSED.labels("unfinished").inc()
        super().handle_close()

    def _refuse(self, reason: str, why: str) -> None:
        self._refused = True
        REFUSED.labels(reason).inc()
        logs.get().debug("no HTTPS", client=self.addr[0], reason=reason, error=why)
        self.handle_close()


def _no_tls() -> bytes:
    """Return the answer to who speaks HTTP without TLS."""
    body = problems.encode(400, "http_400", "this port takes HTTPS only: ask for https://")
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: {problems.MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body

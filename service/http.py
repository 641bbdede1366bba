"""The HTTP server of a service: waitress in its own thread, health endpoints beside the application.

With a certificate it listens on a second port for HTTPS; both ports are one loop and one set of workers.

Slow clients must not block valid ones: many connections, short time-outs
(with waitress's defaults 100 slow connections stop everything), and an end
to every request, however steadily its bytes drip in. All bodies together are
bounded (`http_bodies`). What the server itself refuses it refuses as problem
details, like the application behind it.
"""

import contextlib
import functools
import logging
import resource
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import waitress.server
import waitress.wasyncore

from service import logs, problems
from service.errors import StartError
from service.health import PATHS, Health
from service.http_bodies import Bodies
from service.http_certificate import Certificate
from service.http_channel import Channel, TlsChannel
from service.settings import HttpSettings

__all__ = ["HttpServer"]

_CONNECTION_LIMIT = 2000
_CHANNEL_TIMEOUT_S = 10  # without a byte
_LOOK_S = 2  # how often the loop looks for connections that take too long, and at the certificate
_ACCEPTED_AT_ONCE = 100
_MAX_HEADER_BYTES = 16 * 1024
_BODIES, _MOST_BODIES_BYTES = 8, 32 << 20  # bodies of the largest size that are received together, and at most so much
_OTHER_DESCRIPTORS = 100  # of the process: databases, the broker, logs


class HttpServer:
    """Serves `health` and, for every other path, `app`.

    Args:
        settings: where to listen.
        health: answers /healthz, /readyz, /metrics.
        app: a WSGI application, or None.
        threads: how many requests are worked on at the same time.
        max_body_bytes: longer requests are answered 413 without being read.
    """

    def __init__(
        self,
        settings: HttpSettings,
        health: Health,
        app: Any = None,
        *,
        threads: int = 8,
        max_body_bytes: int = 1 << 20,
    ) -> None:
        self._settings = settings
        self._health = health
        self._app = app
        self._threads = threads
        self._max_body_bytes = max_body_bytes
        self._bodies = Bodies(max(max_body_bytes, min(_BODIES * max_body_bytes, _MOST_BODIES_BYTES)))
        self._map: dict[int, Any] = {}  # waitress's: descriptor -> whatever reads or writes it
        self._thread: threading.Thread | None = None
        self._certificate: Certificate | None = None
        if settings.http_tls_cert_path.name:
            self._certificate = Certificate(settings.http_tls_cert_path, settings.http_tls_key_path)
            health.add_warning("certificate", self._certificate.warning)

    def start(self) -> None:
        """Listen and serve in the background.

        Raises:
            StartError: an address cannot be listened on.
        """
        settings, limit = self._settings, _connection_limit()
        self._server = self._listen("http", settings.http_host, settings.http_port, limit, None)
        if self._certificate:
            # The network reaches this port, our own services the other: they come through when this one is flooded.
            self._tls_server = self._listen(
                "https", settings.http_tls_host, settings.http_tls_port, limit * 3 // 4, self._certificate
            )
            logs.get().info("serves HTTPS", port=self.tls_port, ends=self._certificate.ends.isoformat())
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a line for each request that waits for a thread
        self._thread = threading.Thread(target=self._server.run, name="http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on, also when the setting was 0."""
        return _port_of(self._server)

    @property
    def tls_port(self) -> int:
        """The port for HTTPS; there must be a certificate."""
        return _port_of(self._tls_server)

    def _listen(self, scheme: str, host: str, port: int, limit: int, certificate: Certificate | None) -> Any:
        """Have waitress listen on one more address.

        Args:
            limit: this port takes nobody more while both together have so many connections.
        """
        before = set(self._map)
        workers = self._server.task_dispatcher if certificate else None  # None: waitress makes them
        try:
            server = waitress.server.create_server(
                self._dispatch,
                map=self._map,
                _dispatcher=workers,
                host=host,
                port=port,
                url_scheme=scheme,
                threads=self._threads,
                connection_limit=limit,
                channel_timeout=_CHANNEL_TIMEOUT_S,
                cleanup_interval=_LOOK_S,
                max_request_body_size=self._max_body_bytes,
                inbuf_overflow=self._max_body_bytes + 1,  # in memory, which is bounded; never to files in /tmp
                max_request_header_size=_MAX_HEADER_BYTES,
                asyncore_use_poll=True,  # select() fails beyond descriptor 1023
                ident="pinloop",
                clear_untrusted_proxy_headers=True,
            )
        except OSError as error:
            flag = "--http-port" if scheme == "http" else "--http-tls-port"
            raise StartError(f"cannot listen on {host}:{port} ({error.strerror}); choose another {flag}") from None
        for descriptor, one in self._map.items():
            if descriptor not in before and isinstance(one, waitress.server.BaseWSGIServer):
                one.bodies = self._bodies
                one.channel_class = functools.partial(TlsChannel, certificate) if certificate else Channel
                one.handle_accept = _accepting(one)
                one.maintenance = _maintaining(one, certificate)
        return server

    def stop(self) -> None:
        """Stop listening; requests that are being worked on get 5 s to end."""
        if not self._thread:
            return
        self._server.task_dispatcher.shutdown(timeout=5)
        # The loop runs until its last connection ends, and a client that keeps one open would hold up the stop; the
        # connections belong to the loop's thread, so that thread closes them.
        listening = next(one for one in self._map.values() if isinstance(one, waitress.server.BaseWSGIServer))
        with contextlib.suppress(OSError):  # it has been woken otherwise, and closed itself before the wake-up call
            listening.trigger.pull_trigger(lambda: waitress.wasyncore.close_all(self._map))
        self._thread.join(timeout=5)

    def _dispatch(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self._app is None or environ["PATH_INFO"] in PATHS:
            if environ["PATH_INFO"] not in PATHS:
                return _refuse(start_response, "404 Not Found", f"only {' '.join(PATHS)} here")
            if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                return _refuse(start_response, "405 Method Not Allowed", "only GET here", ("Allow", "GET, HEAD"))
            found = self._health.wsgi(environ, start_response)
            return found if environ["REQUEST_METHOD"] == "GET" else []
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer


def _port_of(server: Any) -> int:
    ports = getattr(server, "effective_listen", None) or [(server.effective_host, server.effective_port)]
    return int(ports[0][1])


def _accepting(server: Any) -> Callable[[], None]:
    """Return what the loop calls when somebody connects: waitress's own takes one, and a pass of the loop looks at all.

    So a thousand that come at once were taken in more than a second, and whoever came behind them had to wait.
    """
    accept = server.handle_accept

    def accept_many() -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            before = len(server._map)
            accept()
            if not before < len(server._map) < server.adj.connection_limit:
                return

    return accept_many


def _maintaining(server: Any, certificate: Certificate | None) -> Callable[[float], None]:
    """Return what the loop calls each cleanup interval: waitress's own, and the end of requests that take too long."""
    silent_ones = server.maintenance

    def maintain(now_s: float) -> None:
        silent_ones(now_s)
        if certificate:
            certificate.look()
        for channel in server.active_channels.values():
            if channel.is_over(time.monotonic()):
                channel.will_close = True

    return maintain


def _refuse(start_response: Any, status: str, detail: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    code = int(status[:3])
    start_response(status, [("Content-Type", problems.MEDIA_TYPE), *headers])
    return [problems.encode(code, f"http_{code}", detail)]


def _connection_limit() -> int:
    """Return how many connections may stand; each is a descriptor, of which many systems allow 1024 unless asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTION_LIMIT + _OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(_OTHER_DESCRIPTORS, min(_CONNECTION_LIMIT, wanted - _OTHER_DESCRIPTORS))

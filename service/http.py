"""The HTTP server of a service: waitress in its own thread, health endpoints beside the application.

Slow clients must not block valid ones: many connections, short time-outs
(with waitress's defaults 100 slow connections stop everything), and an end
to every request, however steadily its bytes drip in. What the server itself
refuses it refuses as problem details, like the application behind it.
"""

import contextlib
import logging
import resource
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import waitress.channel
import waitress.server
import waitress.task
import waitress.wasyncore

from service import problems
from service.errors import StartError
from service.health import PATHS, Health
from service.settings import HttpSettings

__all__ = ["HttpServer"]

_CONNECTION_LIMIT = 2000
_CHANNEL_TIMEOUT_S = 10  # without a byte
_REQUEST_TIMEOUT_S = 30  # from a request's first byte to its last
_MAX_HEADER_BYTES = 16 * 1024
_OTHER_DESCRIPTORS = 100  # of the process: databases, the broker, logs


class _ErrorTask(waitress.task.ErrorTask):  # type: ignore[misc]
    """Answers what waitress cannot read (400, 413, 431, 501) or what failed outside of the application (500)."""

    def execute(self) -> None:
        """Write the answer; runs on one of the server's threads."""
        error = self.request.error
        body = problems.encode(error.code, "size" if error.code == 413 else f"http_{error.code}", str(error.body))
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", problems.MEDIA_TYPE))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(waitress.channel.HTTPChannel):  # type: ignore[misc]
    """A connection whose requests have an end."""

    error_task_class = _ErrorTask
    _since_s: float | None = None  # when the request that is being read began, time.monotonic()

    def received(self, data: bytes) -> bool:
        """Take bytes; runs on the loop's thread."""
        taken = bool(super().received(data))
        if self.request is None:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = time.monotonic()
        return taken

    def is_over(self, now_s: float) -> bool:
        """Tell whether the request that is being read takes too long."""
        return self._since_s is not None and now_s - self._since_s > _REQUEST_TIMEOUT_S


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
        self._map: dict[int, Any] = {}  # waitress's: descriptor -> whatever reads or writes it
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen and serve in the background.

        Raises:
            StartError: the address cannot be listened on.
        """
        host, port = self._settings.http_host, self._settings.http_port
        try:
            self._server = waitress.server.create_server(
                self._dispatch,
                map=self._map,
                host=host,
                port=port,
                threads=self._threads,
                connection_limit=_connection_limit(),
                channel_timeout=_CHANNEL_TIMEOUT_S,
                cleanup_interval=2,
                max_request_body_size=self._max_body_bytes,
                max_request_header_size=_MAX_HEADER_BYTES,
                asyncore_use_poll=True,  # select() fails beyond descriptor 1023
                ident="pinloop",
                clear_untrusted_proxy_headers=True,
            )
        except OSError as error:
            raise StartError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --http-port") from None
        for one in self._map.values():
            if isinstance(one, waitress.server.BaseWSGIServer):
                one.channel_class = _Channel
                one.maintenance = _maintaining(one)
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a line for each request that waits for a thread
        self._thread = threading.Thread(target=self._server.run, name="http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on, also when the setting was 0."""
        server = self._server
        ports = getattr(server, "effective_listen", None) or [(server.effective_host, server.effective_port)]
        return int(ports[0][1])

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


def _maintaining(server: Any) -> Callable[[float], None]:
    """Return what the loop calls each cleanup interval: waitress's own, and the end of requests that take too long."""
    silent_ones = server.maintenance

    def maintain(now_s: float) -> None:
        silent_ones(now_s)
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

"""The HTTP server of a service: waitress in its own thread, health endpoints beside the application.

Slow clients must not block valid ones: many connections, short time-outs
(with waitress's defaults 100 slow connections stop everything).
"""

import contextlib
import threading
from collections.abc import Iterable
from typing import Any

import waitress.server
import waitress.wasyncore

from service.errors import StartError
from service.health import PATHS, Health
from service.settings import HttpSettings

__all__ = ["HttpServer"]

_CONNECTION_LIMIT = 2000
_CHANNEL_TIMEOUT_S = 10


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
                connection_limit=_CONNECTION_LIMIT,
                channel_timeout=_CHANNEL_TIMEOUT_S,
                cleanup_interval=2,
                max_request_body_size=self._max_body_bytes,
                asyncore_use_poll=True,  # select() fails beyond descriptor 1023
                ident="pinloop",
                clear_untrusted_proxy_headers=True,
            )
        except OSError as error:
            raise StartError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --http-port") from None
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
                start_response("404 Not Found", [("Content-Type", "text/plain")])
                return [b"only " + " ".join(PATHS).encode() + b" here\n"]
            return self._health.wsgi(environ, start_response)
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

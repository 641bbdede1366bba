"""The front: answers the operations that are asked for most by itself, and leaves the others to Flask.

Flask's routing and contexts cost more than an alert does (0.3 ms of CPU). A
direct operation has a path without parameters; guard, limit and problem details
are those of all the others.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from werkzeug.wrappers import Request

from webhook import problems
from webhook.api.operations import Operation

__all__ = ["Front"]

_encode = msgspec.json.Encoder().encode


class Front:
    """A WSGI application in front of another one.

    Args:
        app: answers everything else.
        guard: as `make_app` has it.
        body_max_bytes: longer bodies are answered 413.
        operations: the direct ones.
    """

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        guard: Callable[[Request, Operation | None], Any],
        body_max_bytes: int,
        operations: Iterable[Operation],
    ) -> None:
        self._app = app
        self._guard = guard
        self._body_max_bytes = body_max_bytes
        self._direct = {(one.method, one.path): one for one in operations}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request; runs on one of the server's threads."""
        operation = self._direct.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if operation is None:
            return self._app(environ, start_response)
        request = Request(environ)
        request.max_content_length = self._body_max_bytes
        try:
            self._guard(request, operation)
            body = _encode(operation.handler(request.get_data()))
        except Exception as error:  # noqa: BLE001  (each has its answer)
            return problems.answer_to(error, request, self._body_max_bytes)(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

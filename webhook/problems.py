"""Problems: every way in which the API refuses, as problem details, counted by reason."""

import sqlite3

from flask import Flask
from flask import request as flask_request
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.wrappers import Request, Response

from contract.errors import ContractError, TopicError
from service import logs, problems
from webhook import metrics

__all__ = ["Refusal", "answer_to", "install"]

_log = logs.get("api")


class Refusal(Exception):  # noqa: N818  (an answer, not a fault)
    """The request is answered with this problem.

    Attributes:
        status: HTTP status.
        reason: one word from a closed list.
        headers: of the answer, `Retry-After` or `WWW-Authenticate`.
    """

    def __init__(self, status: int, reason: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def install(app: Flask) -> None:
    """Have `app` answer every error as problem details."""

    def answer(error: Exception) -> Response:
        return answer_to(error, flask_request, app.config["MAX_CONTENT_LENGTH"])

    for kind in (Refusal, ContractError, sqlite3.Error, HTTPException):
        app.register_error_handler(kind, answer)


def answer_to(error: Exception, request: Request, body_max_bytes: int) -> Response:
    """Return the answer to a request that failed with `error`."""
    match error:
        case Refusal():
            return _answer(error.status, error.reason, str(error), error.headers)
        case ContractError(reason="alerts"):
            return _answer(413, error.reason, str(error))
        case ContractError():
            return _answer(404 if isinstance(error, TopicError) else 400, error.reason, str(error))
        case sqlite3.Error():
            _log.error("claims database failed", error=str(error))
            return _answer(503, "database", f"claims database: {error}; nothing was done")
        case HTTPException(code=413):
            return _answer(413, "size", f"body: is longer than {body_max_bytes} bytes")
        case HTTPException():
            detail = f"{request.method} {request.path[:200]!r}: {error.name.lower()}"
            allow = {name: value for name, value in error.get_headers() if name == "Allow"}
            return _answer(error.code or 500, f"http_{error.code or 500}", detail, allow)
        case _:
            _log.error("request failed", path=request.path[:200], exc_info=error)
            return answer_to(InternalServerError(), request, body_max_bytes)


def _answer(status: int, reason: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    metrics.REJECTED.labels(reason).inc()
    body = problems.encode(status, reason, detail)
    return Response(body, status, headers, content_type=problems.MEDIA_TYPE)

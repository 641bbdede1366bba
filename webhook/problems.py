"""Problems: every way in which the API refuses, as problem details, counted by reason."""

import sqlite3

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from contract.errors import ContractError, TopicError
from service import logs, problems
from webhook import metrics

__all__ = ["Refusal", "install"]


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
    log = logs.get("api")

    @app.errorhandler(Refusal)
    def refusal(error: Refusal) -> Response:
        return _answer(error.status, error.reason, str(error), error.headers)

    @app.errorhandler(ContractError)
    def contract(error: ContractError) -> Response:
        return _answer(404 if isinstance(error, TopicError) else 400, error.reason, str(error))

    @app.errorhandler(sqlite3.Error)
    def database(error: sqlite3.Error) -> Response:
        log.error("claims database failed", error=str(error))
        return _answer(503, "database", f"claims database: {error}; nothing was done")

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        code = error.code or 500
        if code == 413:
            return _answer(413, "size", f"body: is longer than {app.config['MAX_CONTENT_LENGTH']} bytes")
        detail = f"{request.method} {request.path[:200]!r}: {error.name.lower()}"
        allow = {name: value for name, value in error.get_headers() if name == "Allow"}
        return _answer(code, f"http_{code}", detail, allow)


def _answer(status: int, reason: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    metrics.REJECTED.labels(reason).inc()
    body = problems.encode(status, reason, detail)
    return Response(body, status, headers, content_type=problems.MEDIA_TYPE)

"""The WSGI application: guard, routes, errors."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Request

from webhook import problems
from webhook.api.front import Front
from webhook.api.operations import Operation

__all__ = ["make_app"]


def make_app(
    guard: Callable[[Request, Operation | None], Any], body_max_bytes: int, operations: Iterable[Operation]
) -> Flask:
    """Return the application.

    Args:
        guard: called with the request and its operation, None where there is none; returns who asks, or raises what
            is answered instead.
        body_max_bytes: longer bodies are answered 413.
        operations: every route.
    """
    app = Flask("webhook", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = body_max_bytes
    app.url_map.merge_slashes = False  # a path is what it is; nobody is redirected
    by_name = {one.name: one for one in operations}

    @app.before_request
    def admit() -> None:
        g.caller = guard(request, by_name.get(request.endpoint or ""))

    problems.install(app)
    for one in by_name.values():
        app.add_url_rule(
            one.path.replace("{", "<").replace("}", ">"),
            one.name,
            None if one.direct else _answering(one),
            methods=[one.method],
            provide_automatic_options=False,
        )
    direct = [one for one in by_name.values() if one.direct]
    app.wsgi_app = Front(app.wsgi_app, guard, body_max_bytes, direct)  # type: ignore[method-assign]
    return app


def _answering(operation: Operation) -> Callable[..., ResponseReturnValue]:
    def view(**parameters: str) -> ResponseReturnValue:
        return jsonify(operation.handler(**parameters))

    return view

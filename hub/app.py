"""The hub's WSGI application: console, API, and how both say that something went wrong."""

from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError, ServiceUnavailable

from contract.errors import TopicError
from hub import api, console, words
from hub.state import Hub
from hub.webhook_client import Refused, WebhookAway
from service import logs
from store import StoreError

__all__ = ["create_app"]


def create_app(app: Flask, hub: Hub) -> Flask:
    """Give `app` (already guarded by hub.access) the routes of the console and the API."""
    app.extensions["hub"] = hub
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(number=words.number, iso=words.iso, age=words.age, left=words.left)
    app.register_blueprint(api.routes)
    app.register_blueprint(console.routes)
    app.register_error_handler(WebhookAway, lambda error: _say(ServiceUnavailable(str(error))))
    app.register_error_handler(
        StoreError, lambda error: _say(ServiceUnavailable(f"the store does not answer: {error}"))
    )
    app.register_error_handler(TopicError, lambda error: _say(BadRequest(str(error))))
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(HTTPException, _say)
    app.register_error_handler(Exception, _bug)
    return app


def _say(error: HTTPException) -> Response:
    """Return an error as JSON to programs and as a page to people."""
    if request.path.startswith(("/api/", "/part/")):
        response = jsonify(error=error.description)
    else:
        response = Response(render_template("error.html", error=error), mimetype="text/html")
    response.status_code = error.code or 500
    response.headers.extend([(name, value) for name, value in error.get_headers() if name in ("Retry-After", "Allow")])
    return response


def _refused(error: Refused) -> Response:
    response = jsonify(error=str(error))
    response.status_code = error.status
    return response


def _bug(_error: Exception) -> Response:
    logs.get("http").exception("request failed", path=request.path, method=request.method)
    return _say(InternalServerError("the hub made a mistake; its log says which"))

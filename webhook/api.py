"""The HTTP API: who may ask for what, and every error as JSON.

Two users with Basic auth: `alerts` may only POST /alert, `operator` may do
everything else. A password is compared in constant time and never hashed per
request: hashing costs 150 ms, and a storm of alerts would be its own attack.
"""

import hmac
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, jsonify, request
from flask_httpauth import HTTPBasicAuth
from werkzeug.exceptions import HTTPException

from contract.errors import ContractError, TopicError
from contract.topics import check_device, check_name
from service import logs
from webhook import metrics
from webhook.alerts import Alerts
from webhook.claims import Claims
from webhook.commands import Pin
from webhook.facts import Facts
from webhook.manual import decode_claim
from webhook.observed import Observed
from webhook.publisher import Publisher
from webhook.reconcile import Reconciler

__all__ = ["ALERTS", "OPERATOR", "make_app"]

ALERTS = "alerts"
OPERATOR = "operator"


class _NotFoundError(LookupError):
    """The pin is not known."""


class _NotReadyError(Exception):
    """Nobody can say yet whether the pin exists."""


def make_app(
    passwords: dict[str, str],
    body_max_bytes: int,
    alerts: Alerts,
    claims: Claims,
    facts: Facts,
    observed: Observed,
    sender: Publisher,
    reconciler: Reconciler,
) -> Flask:
    """Return the application.

    Args:
        passwords: of the users ALERTS and OPERATOR.
        body_max_bytes: longer bodies are answered 413.
    """
    app = Flask("webhook")
    app.config["MAX_CONTENT_LENGTH"] = body_max_bytes
    app.before_request(_guard(passwords))
    _errors(app)

    @app.post("/alert")
    def post_alert() -> Response:
        return jsonify(alerts.receive(request.get_data(cache=False)))

    @app.get("/alerts")
    def get_alerts() -> Response:
        return jsonify(alerts=facts.alerts())

    @app.get("/claims")
    def get_claims() -> Response:
        return jsonify(claims=facts.claims())

    @app.get("/pins")
    def get_pins() -> Response:
        return jsonify(pins=facts.pins(time.time()))

    @app.get("/pins/<device>/<name>")
    def get_pin(device: str, name: str) -> Response:
        return jsonify(facts.pin(known(device, name), time.time()))

    @app.get("/pins/<device>/<name>/why")
    def get_why(device: str, name: str) -> Response:
        return jsonify(facts.why(known(device, name), time.time()))

    @app.put("/pins/<device>/<name>")
    def put_pin(device: str, name: str) -> Response:
        pin, now_s = known(device, name), time.time()
        claim = decode_claim(request.get_data(cache=False), pin, observed.pins.get(device, {}).get(name, {}), now_s)
        sender.carry_out(lambda: claims.hold(claim, now_s))
        return jsonify(facts.pin(pin, time.time()))

    @app.delete("/pins/<device>/<name>")
    def delete_pin(device: str, name: str) -> Response:
        pin = known(device, name)
        sender.carry_out(lambda: claims.let_go(pin, time.time()))
        return jsonify(facts.pin(pin, time.time()))

    def known(device: str, name: str) -> Pin:
        """Return the pin when a device declares it or it has a history here."""
        pin = check_device(device), check_name(name, "pin")
        if name in observed.pins.get(device, {}) or facts.has(pin):
            return pin
        if not reconciler.settled:
            raise _NotReadyError(f"device: {device!r} is not known yet: the broker has not been heard")
        if device in observed.pins:
            names = ", ".join(sorted(observed.pins[device])) or "none"
            raise _NotFoundError(f"pin: {name!r} is not a pin of {device} (it has {names})")
        raise _NotFoundError(f"device: {device!r} is not known: no device of that name has said what it is")

    return app


def _guard(passwords: dict[str, str]) -> Callable[[], Any]:
    """Return what answers 401 or 403 before any route is looked at, None for those who may go on."""
    auth: Any = HTTPBasicAuth(realm="pinloop")
    expected = {user: password.encode() for user, password in passwords.items()}

    def verify(user: str, password: str) -> str | None:
        # An unknown user costs the same comparison as a known one.
        right = hmac.compare_digest(password.encode(), expected.get(user, b"\0" * 32))
        return user if right and user in expected else None

    def role(user: str) -> str:
        return user

    def refuse(status: int) -> tuple[Response, int]:
        if status == 403:
            return _refusal(403, "user", "user: may not do this; `alerts` posts to /alert, `operator` does the rest")
        return _refusal(401, "credentials", "credentials: are missing or wrong")

    auth.verify_password(verify)
    auth.get_user_roles(role)
    auth.error_handler(refuse)
    pass_for = {user: auth.login_required(role=user)(lambda: None) for user in (ALERTS, OPERATOR)}
    return lambda: pass_for[ALERTS if request.path == "/alert" else OPERATOR]()


def _errors(app: Flask) -> None:
    log = logs.get("api")

    @app.errorhandler(ContractError)
    def contract(error: ContractError) -> tuple[Response, int]:
        return _refusal(404 if isinstance(error, TopicError) else 400, error.reason, str(error))

    @app.errorhandler(_NotFoundError)
    def not_found(error: _NotFoundError) -> tuple[Response, int]:
        return _refusal(404, "unknown", str(error))

    @app.errorhandler(_NotReadyError)
    def not_ready(error: _NotReadyError) -> tuple[Response, int]:
        return _refusal(503, "not_ready", str(error))

    @app.errorhandler(sqlite3.Error)
    def database(error: sqlite3.Error) -> tuple[Response, int]:
        log.error("claims database failed", error=str(error))
        return _refusal(503, "database", f"claims database: {error}; nothing was done")

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> tuple[Response, int]:
        code = error.code or 500
        if code == 413:
            text = f"body: is longer than {app.config['MAX_CONTENT_LENGTH']} bytes"
            return _refusal(413, "size", text)
        return _refusal(code, f"http_{code}", f"{request.method} {request.path}: {error.name.lower()}")


def _refusal(status: int, reason: str, text: str) -> tuple[Response, int]:
    metrics.REJECTED.labels(reason).inc()
    return jsonify(error=text), status

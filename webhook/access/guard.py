"""The guard: finds out who asks and answers 401, 403 or 429 before a handler is called.

POST /alert is for senders: Basic as `alerts`, a signature, either, or both (`alert_auth`).
Everything else is for Basic as `operator` and for API tokens of the scope that the route needs.
"""

import time
from collections.abc import Callable

from flask import g
from werkzeug.wrappers import Request

from service import logs
from webhook.access.basic import BasicUsers, Busy
from webhook.access.scopes import ADMIN, ALERT, READ, Caller
from webhook.access.signature import Signatures
from webhook.access.throttle import Throttle, address_of
from webhook.access.tokens import Tokens
from webhook.api.operations import Operation
from webhook.problems import Refusal

__all__ = ["ALERTS", "ALERT_AUTH", "ANY", "BASIC", "BOTH", "HMAC", "OPERATOR", "Guard", "caller"]

ALERTS = "alerts"
OPERATOR = "operator"
_USERS = {ALERTS: Caller(ALERTS, ALERT), OPERATOR: Caller(OPERATOR, ADMIN)}

BASIC = "basic"
HMAC = "hmac"
BOTH = "both"
ANY = "any"  # whoever signs must sign right; whoever does not needs the password
ALERT_AUTH = (ANY, BASIC, HMAC, BOTH)

_ALERT_CHALLENGE = 'Basic realm="pinloop alerts"'
_CHALLENGE = 'Basic realm="pinloop", Bearer realm="pinloop"'

_TOLD_S = 900.0  # a sender comes again within its group_interval


class Guard:
    """Looks at every request before its handler.

    Args:
        users: ALERTS and OPERATOR.
        signatures: of senders; None when there is no key.
        tokens: of everybody else.
        throttle: of failures; the one that `users` has.
        alert_auth: one of ALERT_AUTH.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        users: BasicUsers,
        signatures: Signatures | None,
        tokens: Tokens,
        throttle: Throttle,
        alert_auth: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._users = users
        self._signatures = signatures
        self._tokens = tokens
        self._throttle = throttle
        self._alert_auth = alert_auth
        self._clock = clock
        self._refused = 0  # posts of alerts since one was let in
        self._refused_s = 0.0
        self._log = logs.get("access")

    def senders_problem(self) -> str | None:
        """Say that senders of alerts are refused and none is let in, None when that is not so; a check for `Health`."""
        if not self._refused or not 0 <= self._clock() - self._refused_s < _TOLD_S:
            return None
        return (
            f"{self._refused} posts to /alert had wrong credentials since the last one that was let in:"
            " does Grafana have the alert password of now?"
        )

    def admit(self, request: Request, operation: Operation | None) -> Caller | None:
        """Return who asks when the request may go on, None for somebody of whom that is not asked.

        Args:
            operation: the route, None for a path or method that does not exist.

        Raises:
            Refusal: 401, 403 or 429.
        """
        if operation is not None and operation.scope is None:
            return None
        address = address_of(request.remote_addr or "")
        scope = operation.scope if operation and operation.scope else ALERT if request.path == "/alert" else READ
        try:
            found = self._sender(request, address) if scope == ALERT else self._person(request, address)
        except Refusal as error:
            if scope == ALERT and operation is not None:  # not GET /alert: the doctor tries the lock
                self._refused, self._refused_s = self._refused + 1, self._clock()
            raise self._counted(address, error) from None
        if scope == ALERT and operation is not None:
            self._refused = 0
        if not found.may(scope):
            raise Refusal(403, "scope", _forbidden(found, scope))
        return found

    def _sender(self, request: Request, address: str) -> Caller:
        """Return who posts an alert."""
        signed = self._signatures is not None and self._signatures.given(request.headers)
        if self._alert_auth in (BASIC, BOTH) or (self._alert_auth == ANY and not signed):
            found = self._basic(request, address, _ALERT_CHALLENGE)
            if not found.may(ALERT):
                return found
        if self._signatures is not None and (self._alert_auth in (HMAC, BOTH) or (self._alert_auth == ANY and signed)):
            self._signatures.check(request.headers, request.get_data(), self._clock())
        return _USERS[ALERTS]

    def _person(self, request: Request, address: str) -> Caller:
        """Return who asks for anything else."""
        given = request.authorization
        if given is not None and given.type == "bearer":
            found = self._tokens.caller(given.token or "", self._clock())
            if found is None:
                raise _wrong("token: is not one of ours, has ended or was revoked", _CHALLENGE)
            return found
        return self._basic(request, address, _CHALLENGE)

    def _basic(self, request: Request, address: str, challenge: str) -> Caller:
        given = request.authorization
        if given is None or given.type != "basic" or given.username is None or given.password is None:
            raise Refusal(401, "credentials", "credentials: are missing", WWW_Authenticate=challenge)
        try:
            if self._users.knows(given.username, given.password, address):
                return _USERS[given.username]
        except Busy as busy:
            raise _too_many(busy.wait_s) from None
        raise _wrong("credentials: are wrong", challenge)

    def _counted(self, address: str, error: Refusal) -> Refusal:
        """Return what is answered to a refusal: 429 when the address has been wrong too often."""
        if error.reason not in ("wrong", "signature"):
            return error
        wait_s = self._throttle.wait_s(address)
        if self._throttle.failed(address):
            self._log.warning("wrong credentials again and again", address=address)
        return _too_many(wait_s) if wait_s else error


def caller() -> Caller:
    """Return who asks; only while a request is handled that needs somebody."""
    found: Caller = g.caller
    return found


def _wrong(detail: str, challenge: str) -> Refusal:
    return Refusal(401, "wrong", detail, WWW_Authenticate=challenge)


def _too_many(wait_s: int) -> Refusal:
    detail = f"credentials: too many wrong ones from this address; try again in {wait_s} s"
    return Refusal(429, "too_many", detail, Retry_After=str(wait_s))


def _forbidden(found: Caller, scope: str) -> str:
    if ALERT in (scope, found.scope):
        return f"{found.name}: may not do this; `alerts` posts to /alert, `operator` and tokens do the rest"
    return f"{found.name}: may {found.scope}, and this needs {scope}"

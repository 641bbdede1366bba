"""The guard: answers 401 or 403 before a handler is called."""

import hmac

from flask import request

from webhook.access.scopes import ADMIN, ALERT, READ, Caller
from webhook.api.operations import Operation
from webhook.problems import Refusal

__all__ = ["ALERTS", "OPERATOR", "Guard"]

ALERTS = "alerts"
OPERATOR = "operator"
_USERS = {ALERTS: Caller(ALERTS, ALERT), OPERATOR: Caller(OPERATOR, ADMIN)}


class Guard:
    """Knows the users.

    Args:
        passwords: of the users ALERTS and OPERATOR.
    """

    def __init__(self, passwords: dict[str, str]) -> None:
        self._expected = {user: password.encode() for user, password in passwords.items()}

    def admit(self, path: str, operation: Operation | None) -> None:
        """Return when the request may go on.

        Raises:
            Refusal: 401 or 403.
        """
        if operation is not None and operation.scope is None:
            return
        scope = ALERT if path == "/alert" else operation.scope if operation and operation.scope else READ
        given = request.authorization
        user, password = (given.username or "", given.password or "") if given and given.type == "basic" else ("", "")
        right = hmac.compare_digest(password.encode(), self._expected.get(user, b"\0" * 32))
        if not (right and user in _USERS):
            raise Refusal(
                401, "credentials", "credentials: are missing or wrong", WWW_Authenticate='Basic realm="pinloop"'
            )
        if not _USERS[user].may(scope):
            raise Refusal(403, "user", "user: may not do this; `alerts` posts to /alert, `operator` does the rest")

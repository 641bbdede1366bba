"""Scopes: what a caller may do. Each of READ, ACTUATE and ADMIN includes those before it; ALERT stands by itself."""

__all__ = ["ACTUATE", "ADMIN", "ALERT", "READ", "TOKEN_SCOPES", "Caller"]

from dataclasses import dataclass

ALERT = "alert"  # POST /alert, and nothing else
READ = "read"  # every GET
ACTUATE = "actuate"  # claims on pins
ADMIN = "admin"  # what changes the webhook itself

TOKEN_SCOPES = (READ, ACTUATE, ADMIN)


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        name: of the user or the token, for the audit.
        scope: ALERT, or the highest that they have.
        token: they are known by a token, so a claim of theirs carries its name.
    """

    name: str
    scope: str
    token: bool = False

    def may(self, scope: str) -> bool:
        """Tell whether an operation of `scope` is theirs to ask for."""
        if ALERT in (scope, self.scope):
            return scope == self.scope
        return TOKEN_SCOPES.index(scope) <= TOKEN_SCOPES.index(self.scope)

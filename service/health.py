"""Health and metrics: /healthz, /readyz and /metrics.

/healthz says that the process answers; /readyz runs the service's checks and
is 503 with the reasons when one fails that it cannot work without, and tells of
the others; /metrics is Prometheus text.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

import prometheus_client

from service.usage import version

__all__ = ["PATHS", "Health"]

PATHS = ("/healthz", "/readyz", "/metrics")

Check = Callable[[], str | None]


class Health:
    """A service's checks, and the WSGI application that answers for them."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._checks: dict[str, Check] = {}
        self._warnings: dict[str, Check] = {}
        self._metrics = prometheus_client.make_wsgi_app()

    def add(self, name: str, check: Check) -> None:
        """Add a check; it returns None when all is well, else what is wrong in a few words. It must not block."""
        self._checks[name] = check

    def add_warning(self, name: str, check: Check) -> None:
        """Add a check of what the service works without: it is told, and does not make it unready."""
        self._warnings[name] = check

    def problems(self) -> dict[str, str]:
        """Return check -> what is wrong, for those that fail now; a check that raises has failed."""
        return _failing(self._checks)

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one of PATHS."""
        if environ["PATH_INFO"] == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        asked = environ["PATH_INFO"] == "/readyz"
        problems = self.problems() if asked else {}
        body = {
            "ok": not problems,
            "service": self.service,
            "version": version(),
            "problems": problems,
            "warnings": _failing(self._warnings) if asked else {},
        }
        status = "503 Service Unavailable" if problems else "200 OK"
        start_response(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [json.dumps(body).encode() + b"\n"]


def _failing(checks: dict[str, Check]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, check in checks.items():
        try:
            problem = check()
        except Exception as error:  # noqa: BLE001  (a broken check is a finding, not a crash)
            problem = f"{type(error).__name__}: {error}"
        if problem:
            found[name] = problem
    return found

"""POST /alert: from a sender's body to claims and commands, in one transaction.

1. decode the dialect; 2. commit what it says, with the claims and commands that
follow; 3. send, and wait up to 2 s for the broker. The answer is 200 as soon as
2 is done, whatever the broker does: Grafana never retries a webhook by itself,
and what is committed will be sent.
"""

import time
from typing import Any

from service import logs
from webhook import metrics
from webhook.claims import Claims, Result
from webhook.commands import PinCommand
from webhook.dialects import IGNORED, decode
from webhook.publisher import Publisher

__all__ = ["Alerts"]


class Alerts:
    """Takes in the bodies of senders.

    Args:
        legacy_actuate: the targets of legacy bodies without a tag `actuate`, "" for none.
    """

    def __init__(self, claims: Claims, sender: Publisher, legacy_actuate: str) -> None:
        self._claims = claims
        self._sender = sender
        self._legacy_actuate = legacy_actuate
        self._log = logs.get("alerts")

    def receive(self, body: bytes) -> dict[str, Any]:
        """Act on a body and return the answer to its sender.

        Raises:
            ContractError: it is not JSON, or none of the dialects.
            sqlite3.Error: it could not be committed; nothing was done.
        """
        started = time.perf_counter()
        now_s = time.time()
        decoded = decode(body, now_s, self._legacy_actuate)
        results: list[Result] = []
        commands: list[PinCommand] = []

        def decide() -> list[PinCommand]:
            noted, follow = self._claims.notify(decoded.notifications, now_s)
            results.extend(noted)
            commands.extend(follow)
            return follow

        published = self._sender.carry_out(decide)
        for result in results:
            metrics.ALERTS.labels(decoded.dialect, result.outcome).inc()
            if result.outcome == IGNORED:
                self._log.info("alert ignored", alert=result.name, reason=result.reason)
        metrics.TRUNCATED.inc(decoded.truncated)
        self._log.info(
            "alerts taken in",
            dialect=decoded.dialect,
            alerts=len(results),
            commands=len(commands),
            published=published,
            took_ms=round((time.perf_counter() - started) * 1000, 2),
        )
        answer: dict[str, Any] = {
            "ok": True,
            "results": [
                {"fingerprint": one.fingerprint, "outcome": one.outcome, "targets": one.targets, "reason": one.reason}
                for one in results
            ],
            "published": published,
        }
        if published < len(commands):
            answer["note"] = (
                f"{len(commands) - published} commands are stored and not yet acknowledged by the broker; "
                "they are sent again by themselves"
            )
        return answer

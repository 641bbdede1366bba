"""POST /alert: from a sender's body to claims and commands, in one transaction.

1. decode the dialect; 2. commit what it says, with the claims and commands that
follow, together with the bodies that came meanwhile; 3. send, and wait up to
2 s for the broker. The answer is 200 as soon as 2 is done, whatever the broker
does: Grafana never retries a webhook by itself, and what is committed will be
sent.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from service import logs
from webhook import metrics
from webhook.claims import Claims, Result
from webhook.commands import PinCommand
from webhook.database import Database
from webhook.dialects import IGNORED, Notification, decode
from webhook.problems import Refusal
from webhook.publisher import Publisher, Sent
from webhook.together import Together

__all__ = ["Alerts"]

_MOST_ALERTS = 20_000  # of one body; a second of work
_MOST_TRUNCATED = 1_000_000  # what a sender says is not always a number that can be counted


class _Asked(NamedTuple):
    """What a body notifies of, and when it came."""

    notifications: list[Notification]
    now_s: float


class _Taken(NamedTuple):
    """What became of a body."""

    results: list[Result]
    commands: list[PinCommand]
    sent: list[Sent]


class Alerts:
    """Takes in the bodies of senders.

    Args:
        legacy_actuate: the targets of legacy bodies without a tag `actuate`, "" for none.
    """

    def __init__(self, database: Database, claims: Claims, sender: Publisher, legacy_actuate: str) -> None:
        self._database = database
        self._claims = claims
        self._sender = sender
        self._legacy_actuate = legacy_actuate
        self._together = Together(self._take)
        self._log = logs.get("alerts")

    def receive(self, body: bytes) -> dict[str, Any]:
        """Act on a body and return the answer to its sender.

        Raises:
            ContractError: it is not JSON, or none of the dialects.
            Refusal: it holds too many alerts.
            sqlite3.Error: it could not be committed; nothing was done.
        """
        started = time.perf_counter()
        now_s = time.time()
        decoded = decode(body, now_s, self._legacy_actuate)
        if len(decoded.notifications) > _MOST_ALERTS:
            raise Refusal(413, "alerts", f"alerts: are {len(decoded.notifications)}, more than {_MOST_ALERTS}")
        taken = self._together.ask(_Asked(decoded.notifications, now_s))
        results, commands = taken.results, taken.commands
        published = self._sender.confirmed(taken.sent)
        for result in results:
            metrics.ALERTS.labels(decoded.dialect, result.outcome).inc()
            if result.outcome == IGNORED:
                self._log.info("alert ignored", alert=result.name, reason=result.reason)
        metrics.TRUNCATED.inc(min(max(decoded.truncated, 0), _MOST_TRUNCATED))
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

    def _take(self, asked: Sequence[_Asked]) -> list[_Taken]:
        """Commit what several bodies say, in one transaction, and send what follows."""
        with self._database.lock:
            with self._database.transaction():
                noted = [self._claims.notify(one.notifications, one.now_s) for one in asked]
            return [_Taken(results, commands, self._sender.send(commands)) for results, commands in noted]

"""POST /alert: from a sender's body to claims and commands, in one transaction.

1. decode the dialect; 2. commit what it says, with the claims and commands that
follow, together with the bodies that came meanwhile; 3. send, and wait up to
2 s for the broker. The answer is 200 as soon as 2 is done, whatever the broker
does: Grafana never retries a webhook by itself, and what is committed will be
sent.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from service import logs
from webhook import metrics
from webhook.claims import Claims, Result
from webhook.commands import PinCommand
from webhook.database import Database, is_busy
from webhook.dialects import IGNORED, Body, decode
from webhook.publisher import Publisher, Sent
from webhook.together import Together

__all__ = ["Alerts"]

_PUBACK_S = 2.0  # the longest wait for the broker
_MOST_TRUNCATED = 1_000_000  # what a sender says is not always a number that can be counted


class _Asked(NamedTuple):
    """What a body notifies of, and when it came."""

    body: Body
    now_s: float


@dataclass(slots=True)
class _Taken:
    """What became of a body.

    Attributes:
        published: how many of its commands the broker has acknowledged.
    """

    body: Body
    results: list[Result]
    commands: list[PinCommand]
    sent: list[Sent] = field(default_factory=list)
    published: int = 0


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
        self._together = Together(self._take, self._finish, is_busy)
        self._log = logs.get("alerts")

    def receive(self, body: bytes) -> dict[str, Any]:
        """Act on a body and return the answer to its sender.

        Raises:
            ContractError: it is not JSON, none of the dialects, or holds too many alerts.
            sqlite3.Error: it could not be committed; nothing was done.
        """
        now_s = time.time()
        decoded = decode(body, now_s, self._legacy_actuate)
        taken = self._together.ask(_Asked(decoded, now_s))
        answer: dict[str, Any] = {
            "ok": True,
            "results": [
                {"fingerprint": one.fingerprint, "outcome": one.outcome, "targets": one.targets, "reason": one.reason}
                for one in taken.results
            ],
            "published": taken.published,
        }
        left = len(taken.commands) - taken.published
        if left:
            answer["note"] = (
                f"{left} commands are stored and not yet acknowledged by the broker; they are sent again by themselves"
            )
        return answer

    def _take(self, asked: Sequence[_Asked]) -> list[_Taken]:
        """Commit what several bodies say, in one transaction, and send what follows."""
        with self._database.lock:
            noted = self._claims.notify_all([(one.body.notifications, one.now_s) for one in asked])
            taken = [_Taken(one.body, *what) for one, what in zip(asked, noted, strict=True)]
            whose = {(command.device, command.pin): one for one in taken for command in one.commands}
            for sent in self._sender.send([command for one in taken for command in one.commands]):
                whose[sent.command.device, sent.command.pin].sent.append(sent)
        return taken

    def _finish(self, taken: Sequence[_Taken]) -> None:
        """Wait for the broker, and count."""
        deadline_s = time.monotonic() + _PUBACK_S
        outcomes: Counter[tuple[str, str]] = Counter()
        for one in taken:
            one.published = self._sender.confirmed(one.sent, max(0.0, deadline_s - time.monotonic()))
            metrics.TRUNCATED.inc(min(max(one.body.truncated, 0), _MOST_TRUNCATED))
            for result in one.results:
                outcomes[one.body.dialect, result.outcome] += 1
                if result.outcome == IGNORED:
                    self._log.info("alert ignored", alert=result.name, reason=result.reason)
        for (dialect, outcome), count in outcomes.items():
            metrics.ALERTS.labels(dialect, outcome).inc(count)
        self._log.info(
            "alerts taken in",
            bodies=len(taken),
            alerts=sum(len(one.results) for one in taken),
            commands=sum(len(one.commands) for one in taken),
            published=sum(one.published for one in taken),
        )

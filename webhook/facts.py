"""Facts: what is known of pins and alerts, as the API shows it.

Puts together what the claims ask for, what was sent and what the devices
report. Times are seconds since 1970.
"""

import json
from collections.abc import Callable
from typing import Any

from contract.presence import OFFLINE
from webhook.arbiter import PERSON, UNKNOWN, Claim
from webhook.claims import Claims
from webhook.commands import Commands, Pin, PinCommand, change_facts
from webhook.database import Database
from webhook.holds import Holds, Waiting
from webhook.observed import Observed
from webhook.ranges import refused
from webhook.survey import drift_since_s
from webhook.why import sentence

__all__ = ["Facts"]

_CHANGES = 10
_ENDED_ALERTS = 20


class Facts:
    """Answers from the claims, the commands and what was observed.

    Args:
        drift_s: how long a pin may differ before it is shown as drift.
        holds: the guards, None for none.
        dry_run: whether a pin's commands are only decided.

    Attributes:
        quarantined: says why nothing is sent to a pin for a while, "" when it is.
    """

    def __init__(
        self,
        database: Database,
        claims: Claims,
        commands: Commands,
        observed: Observed,
        drift_s: float,
        holds: Holds | None = None,
        dry_run: Callable[[Pin], bool] = lambda _pin: False,
    ) -> None:
        self._holds = holds
        self._dry_run = dry_run
        self._database = database
        self._claims = claims
        self._commands = commands
        self._observed = observed
        self.quarantined: Callable[[Pin], str] = lambda _pin: ""
        self._drift_s = drift_s

    def claims(self) -> list[dict[str, Any]]:
        """Return every active claim."""
        return [self._claim(claim) for claim in self._claims.all()]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that fire, then the last that do not."""
        return [
            {
                "fingerprint": row["fingerprint"],
                "name": row["name"],
                "labels": json.loads(row["labels"]),
                "annotations": json.loads(row["annotations"]),
                "starts_at": row["starts_at"],
                "since_s": min(row["starts_at"], row["seen_s"]),
                "seen_s": row["seen_s"],
                "status": "expired" if row["outcome"] == "expired" else row["status"],
                "targets": json.loads(row["targets"]),
                "outcome": row["outcome"],
                "reason": row["reason"],
            }
            for row in self._claims.alerts(_ENDED_ALERTS)
        ]

    def pins(self, now_s: float) -> list[dict[str, Any]]:
        """Return every pin that a device declares, that has claims, a command that asks something, or a report."""
        with self._database.lock:
            claims, stand = self._claims.by_pin(), self._commands.all()
            waiting = self._holds.waiting() if self._holds else {}
        declared = {(device, name) for device, pins in list(self._observed.pins.items()) for name in pins}
        asked = {pin for pin, command in stand.items() if command.value is not None}
        known = declared | claims.keys() | asked | set(self._observed.reported)
        return [self._pin(pin, claims.get(pin, []), stand.get(pin), waiting.get(pin), now_s) for pin in sorted(known)]

    def has(self, pin: Pin) -> bool:
        """Tell whether the pin has a command or a report, declared or not."""
        with self._database.lock:
            return pin in self._observed.reported or self._commands.of(pin) is not None

    def pin(self, pin: Pin, now_s: float) -> dict[str, Any]:
        """Return what is known of `pin`."""
        with self._database.lock:
            claims, command, waiting = self._claims.of(pin), self._commands.of(pin), self._waiting(pin)
        return self._pin(pin, claims, command, waiting, now_s)

    def changes(self, after: int, since_s: float, pin: Pin | None, most: int) -> list[dict[str, Any]]:
        """Return a page of the log of changes, the oldest first; see `Commands.log`."""
        with self._database.lock:
            return [change_facts(row) for row in self._commands.log(after, since_s, pin, most)]

    def why(self, pin: Pin, now_s: float) -> dict[str, Any]:
        """Return what is known of `pin`, with the answer to "why is it on?", its claims and its last changes."""
        with self._database.lock:
            claims, command, waiting = self._claims.of(pin), self._commands.of(pin), self._waiting(pin)
            changes = self._commands.changes(pin, _CHANGES)
        facts = self._pin(pin, claims, command, waiting, now_s)
        last = next((row for row in changes if not row["held_by"]), None)
        after_s = max(0.0, last["reported_s"] - last["at_s"]) if last and last["reported_s"] else None
        person = bool(claims) and claims[0].owner == PERSON
        changed_s, cause = (command.changed_s if command else None), (last["reason"] if last else "")
        away, refusal = self._away(pin), self._refusal(pin, command)
        facts["text"] = sentence(facts, person, changed_s, after_s, now_s, cause, away=away, refused=refusal)
        facts["claims"] = [self._claim(claim) for claim in claims]
        facts["changes"] = [change_facts(row) for row in changes]
        return facts

    def _away(self, pin: Pin) -> str:
        """Say that what the pin's device reported may be over, "" while the device is there or has reported nothing."""
        if pin not in self._observed.reported or self._observed.online(pin[0]):
            return ""
        return f"the device is {self._observed.status.get(pin[0], OFFLINE)}: it may have changed that since"

    def _refusal(self, pin: Pin, command: PinCommand | None) -> str:
        declared = self._observed.pins.get(pin[0], {}).get(pin[1], {})
        return refused(declared, command.value) if command and command.value is not None else ""

    def _waiting(self, pin: Pin) -> Waiting | None:
        return self._holds.of(pin) if self._holds else None

    def _pin(
        self, pin: Pin, claims: list[Claim], command: PinCommand | None, waiting: Waiting | None, now_s: float
    ) -> dict[str, Any]:
        reported = self._observed.reported.get(pin)
        since_s = drift_since_s(command, reported)
        drift_s = now_s - since_s if since_s is not None else 0.0
        winner = claims[0] if claims else None
        return {
            "device": pin[0],
            "pin": pin[1],
            "desired": winner
            and {
                "value": self._value(winner),
                "slot": winner.slot,
                "source": winner.source,
                "since_s": winner.since_s,
                "until_s": winner.until_s,
            },
            "command": command
            and {"value": command.value, "seq": command.seq, "at_s": command.at_s, "acked_at_s": command.acked_s},
            "reported": reported
            and {"value": reported.value, "seq": reported.seq, "why": reported.why, "at_s": reported.at_s},
            "drift_s": drift_s if drift_s > self._drift_s else None,
            "quarantine": self.quarantined(pin) or None,
            "held": held_facts(waiting) if waiting and waiting.by else None,
            "dry_run": self._dry_run(pin),
        }

    def _claim(self, claim: Claim) -> dict[str, Any]:
        return {
            "device": claim.device,
            "pin": claim.pin,
            "value": self._value(claim),
            "slot": claim.slot,
            "source": claim.source,
            "by": f"{claim.slot} {claim.source}",
            "fingerprint": claim.owner,
            "since_s": claim.since_s,
            "until_s": claim.until_s,
        }

    def _value(self, claim: Claim) -> float | None:
        return self._observed.safe((claim.device, claim.pin)) if claim.slot == UNKNOWN else claim.value


def held_facts(waiting: Waiting) -> dict[str, Any]:
    """Return a wish that a guard holds back as the API shows it."""
    return {
        "by": waiting.by,
        "wanted": waiting.value,
        "slot": waiting.slot,
        "source": waiting.source,
        "since_s": waiting.since_s,
        "until_s": waiting.until_s,
    }

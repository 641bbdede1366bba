"""Alerts: what a transition means to the webhook, in Prometheus Alertmanager's format (version "4").

Pure. An alert is known by its fingerprint, which depends on the rule's name and
the device only; each episode of it by `startsAt`, which grows from episode to
episode even when the wall clock was set back.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from rules.evaluate import FIRING, RESOLVED, UNKNOWN, Key, Transition
from rules.model import Condition, Daily, Rule

__all__ = ["NO_DATA", "Alert", "body", "ended", "fingerprint", "fired", "next_start_s"]

NO_DATA = "NoData"
"""Why an alert is unknown, in the word that Grafana uses for it."""

_NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it stands.

    Attributes:
        key: the rule and the device.
        status: FIRING, RESOLVED or UNKNOWN.
        starts_at_s, ends_at_s: of the episode, seconds since 1970; the end is None while it fires.
        reason: NO_DATA when silence decided, "" otherwise.
        labels, annotations: as they are sent.
    """

    key: Key
    status: str
    starts_at_s: float
    ends_at_s: float | None
    reason: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """16 hex digits, the same in every episode."""
        return fingerprint(self.key)


def fingerprint(key: Key) -> str:
    """Return 16 hex digits that stand for a rule and a device."""
    return hashlib.blake2b("\0".join(("pinloop rules", *key)).encode(), digest_size=8).hexdigest()


def fired(transition: Transition, previous: Alert | None, wall_s: float) -> Alert:
    """Return the alert that fires, in a new episode, or as one that goes on.

    Args:
        transition: to FIRING.
        previous: the alert before, None when it never fired.
        wall_s: seconds since 1970.
    """
    rule, device = transition.rule, transition.device
    goes_on = previous is not None and previous.status == FIRING
    reason = ""
    if transition.value is None and isinstance(rule.trigger, Condition):
        reason = previous.reason if previous and goes_on else NO_DATA
    starts_at_s = previous.starts_at_s if previous and goes_on else next_start_s(previous, wall_s)
    labels = {"alertname": rule.name, "actuate": rule.actuate(device), "slot": rule.slot}
    if device:
        labels["device"] = device
    annotations = {"summary": _summary(rule, device, transition.value)}
    return Alert(transition.key, FIRING, starts_at_s, None, reason, labels, annotations)


def next_start_s(previous: Alert | None, wall_s: float) -> float:
    """Return when an episode after `previous` starts: now, but later than that one.

    Milliseconds are what is sent; a receiver ignores an episode that is not later than the one before.
    """
    return max(round(wall_s, 3), round(previous.starts_at_s + 0.001, 3) if previous else 0.0)


def ended(alert: Alert, status: str, wall_s: float) -> Alert:
    """Return `alert` at its end: RESOLVED, or UNKNOWN when nobody saw its condition end."""
    ends_at_s = max(round(wall_s, 3), alert.starts_at_s)
    return replace(alert, status=status, ends_at_s=ends_at_s, reason=NO_DATA if status == UNKNOWN else "")


def body(alerts: Sequence[Alert]) -> bytes:
    """Return the request body that tells of `alerts`, at least one.

    Source: Prometheus Alertmanager, webhook message version 4.
    """
    firing = any(alert.status == FIRING for alert in alerts)
    return msgspec.json.encode(
        {
            "receiver": "pinloop",
            "status": FIRING if firing else RESOLVED,
            "alerts": [_sent(alert) for alert in alerts],
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "",
            "version": "4",
            "groupKey": "{}:{}",
            "truncatedAlerts": 0,
        }
    )


def _sent(alert: Alert) -> dict[str, object]:
    annotations = dict(alert.annotations)
    if alert.status == UNKNOWN:
        annotations["grafana_state_reason"] = alert.reason
    return {
        "status": FIRING if alert.status == FIRING else RESOLVED,
        "labels": dict(alert.labels),
        "annotations": annotations,
        "startsAt": _rfc3339(alert.starts_at_s),
        "endsAt": _NEVER if alert.ends_at_s is None else _rfc3339(alert.ends_at_s),
        "generatorURL": "",
        "fingerprint": alert.fingerprint,
    }


def _summary(rule: Rule, device: str, value: float | None) -> str:
    trigger = rule.trigger
    if isinstance(trigger, Daily):
        return f"{rule.name}: every day at {trigger.at:%H:%M} ({trigger.tz.key})"
    if value is None:
        return f"{device}/{trigger.sensor}: no reading"
    window = f" ({trigger.reduce} of {trigger.over_s:g} s)" if trigger.over_s else ""
    return f"{device}/{trigger.sensor}{window} is {value:g}, {trigger.when}"


def _rfc3339(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Dialects: what senders of alerts post, turned into one list of notifications.

Grafana unified alerting (`version: "1"`), Prometheus Alertmanager (`version:
"4"`) and Grafana's legacy notification channel (`state: alerting|ok|no_data`),
told apart by their fields. Each alert counts by its own `status`, never by the
body's root `state`, which says "alerting" while any alert of the group fires.
Nothing is read from `values`: they may be null, and hold -1 where there is no
data. A body that is none of the three is an error; one bad alert among good
ones is ignored with its reason.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from contract.errors import ContractError

__all__ = [
    "FIRING",
    "IGNORED",
    "NOT_CONDITIONS",
    "RESOLVED",
    "UNKNOWN",
    "Body",
    "Notification",
    "RawAlert",
    "decode",
    "notification_of",
    "sender_of",
]

FIRING = "firing"
RESOLVED = "resolved"
# It ended, and nobody knows how: no data, a failing data source, a paused rule.
UNKNOWN = "unknown"
# Understood, and not meant for a pin.
IGNORED = "ignored"

# Grafana sends these as firing alerts that carry the rule's own labels, `actuate` too.
NOT_CONDITIONS = ("DatasourceNoData", "DatasourceError", "TestAlert")
_MAX_FINGERPRINT_CHARS = 64
_MAX_NAME_CHARS = 200  # every change of the log holds it twice
_MOST_ALERTS = 20_000  # of one body; a second of work
_LEGACY_STATES = {"alerting": FIRING, "ok": RESOLVED, "no_data": UNKNOWN, "paused": UNKNOWN}


@dataclass(frozen=True, slots=True)
class Notification:
    """What a sender says about one alert.

    Attributes:
        fingerprint: names the alert across its episodes.
        starts_at: when this episode began, seconds since 1970; grows from episode to episode.
        status: FIRING, RESOLVED, UNKNOWN or IGNORED.
        name: the alert's name, for people.
        reason: why it is UNKNOWN or IGNORED, "" otherwise.
        sender: who says so (`sender_of`), "" for nobody that has a name.
    """

    fingerprint: str
    starts_at: float
    status: str
    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    reason: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """A decoded body.

    Attributes:
        dialect: "grafana", "alertmanager" or "legacy".
        truncated: how many alerts the sender left out; they come again with its next repetition.
    """

    dialect: str
    notifications: list[Notification]
    truncated: int = 0


class _Root(msgspec.Struct):
    alerts: list[msgspec.Raw] | None = None
    version: str | int | None = None
    truncatedAlerts: int | None = None  # noqa: N815  (the sender's word)
    externalURL: Any = None  # noqa: N815  (no reason to refuse a body)
    orgId: Any = None  # noqa: N815
    state: str | None = None
    ruleId: int | None = None  # noqa: N815
    ruleName: str | None = None  # noqa: N815
    tags: dict[str, str] | None = None
    message: str | None = None


class RawAlert(msgspec.Struct):
    """An alert as its sender writes it."""

    status: str
    startsAt: str  # noqa: N815
    labels: dict[str, str | None] | None = None
    annotations: dict[str, Any] | None = None
    fingerprint: str | None = ""


_ROOT = msgspec.json.Decoder(_Root)
_ALERT = msgspec.json.Decoder(RawAlert)


def decode(body: bytes, received_s: float, legacy_actuate: str = "") -> Body:
    """Return what `body` notifies of.

    Args:
        body: the request's body, JSON.
        received_s: seconds since 1970; a legacy body, which has no start, begins an episode then.
        legacy_actuate: the targets of a legacy body without a tag `actuate`, "" for none.

    Raises:
        ContractError: not JSON (reason "json"), none of the three dialects (reason "dialect"), or too many alerts
            (reason "alerts").

    Sources: Grafana 13 and Prometheus Alertmanager 0.34 webhook bodies; Grafana 8 "webhook" notification channel.
    """
    try:
        root = _ROOT.decode(body)
    except msgspec.ValidationError as error:
        raise ContractError("body", body[:60], f"is none of the dialects ({error})", "dialect") from None
    except (ValueError, RecursionError):  # msgspec.DecodeError and UnicodeDecodeError are ValueErrors
        raise ContractError("body", body[:60], "is not JSON", "json") from None
    version = str(root.version)
    if root.alerts is not None or version in ("1", "4"):  # Go may write an empty list as null
        if len(root.alerts or ()) > _MOST_ALERTS:  # before any of them becomes a kilobyte of objects
            raise ContractError("alerts", len(root.alerts or ()), f"are more than {_MOST_ALERTS}", "alerts")
        dialect = "alertmanager" if version == "4" else "grafana"
        sender = sender_of(dialect, root.externalURL, root.orgId)
        return Body(dialect, list(_each(root.alerts or (), sender)), root.truncatedAlerts or 0)
    if root.state:
        return Body("legacy", [_legacy(root, root.state, received_s, legacy_actuate)])
    raise ContractError("body", body[:60], "has neither alerts nor a state", "dialect")


def sender_of(dialect: str, external_url: object, org: object = None) -> str:
    """Return the name of a sender: "" unless it says where it is.

    Each organization of a Grafana is a sender of its own: the others' alerts are not in its list.
    """
    if not isinstance(external_url, str) or not external_url or external_url.split() != [external_url]:
        return ""
    return f"{dialect} {external_url.rstrip('/')}" + (f" {org}" if isinstance(org, int) else "")


def _each(alerts: Iterable[msgspec.Raw], sender: str) -> Iterator[Notification]:
    for index, raw in enumerate(alerts):
        try:
            alert = _ALERT.decode(raw)
            labels = {name: value for name, value in (alert.labels or {}).items() if value is not None}
            yield notification_of(alert, labels, sender)
        except (ValueError, RecursionError) as error:  # one bad alert must not lose the others
            yield Notification("", 0.0, IGNORED, "", {}, {}, f"alerts[{index}]: {error}")


def notification_of(alert: RawAlert, labels: dict[str, str], sender: str) -> Notification:
    """Return what `alert` notifies of, with the labels that count.

    Raises:
        ValueError: `startsAt` is no time.
    """
    annotations = {
        name: value if isinstance(value, str) else str(value)
        for name, value in (alert.annotations or {}).items()
        if value is not None and not name.startswith("__")
    }
    name = labels.get("alertname", "")[:_MAX_NAME_CHARS]
    status, reason = alert.status, ""
    if status not in (FIRING, RESOLVED):
        status, reason = IGNORED, f"status {status!r} is not firing or resolved"
    elif name in NOT_CONDITIONS:
        status, reason = IGNORED, f"{name} is not a condition"
    elif status == RESOLVED and annotations.get("grafana_state_reason"):
        # MissingSeries, NoData, Error, Paused, RuleDeleted, Updated: the condition was not seen to end.
        status, reason = UNKNOWN, annotations["grafana_state_reason"]
    fingerprint = alert.fingerprint or ""
    if not 0 < len(fingerprint) <= _MAX_FINGERPRINT_CHARS:
        fingerprint = _derived(labels)
    return Notification(fingerprint, _began(alert.startsAt), status, name, labels, annotations, reason, sender)


def _began(text: str) -> float:
    """Return the start of an episode, seconds since 1970, in whole milliseconds.

    The list of active alerts has no more, and must name the same episode as the notifications do. One that begins in
    the future (the sender's clock is ahead) is not cut to now: then it would be another one with each notification.
    """
    began = datetime.fromisoformat(text)
    if began.tzinfo is None:
        began = began.replace(tzinfo=UTC)
    return began.replace(microsecond=began.microsecond // 1000 * 1000).timestamp()


def _legacy(root: _Root, state: str, received_s: float, legacy_actuate: str) -> Notification:
    labels = dict(root.tags or {})
    identity: dict[str, Any] = {"rule": root.ruleId or root.ruleName, **labels}
    name = labels["alertname"] = root.ruleName or "legacy alert"
    if legacy_actuate:
        labels.setdefault("actuate", legacy_actuate)
    status = _LEGACY_STATES.get(state, IGNORED)
    reason = state if status == UNKNOWN else ""
    if status == IGNORED:
        reason = f"state {state!r} changes nothing"
    annotations = {"summary": root.message} if root.message else {}
    return Notification(_derived(identity), received_s, status, name[:_MAX_NAME_CHARS], labels, annotations, reason)


def _derived(identity: dict[str, Any]) -> str:
    """Return 16 hex digits that stand for `identity`, whatever the order of its keys."""
    ordered = msgspec.json.encode(sorted((key, str(value)) for key, value in identity.items()))
    return hashlib.sha256(ordered).hexdigest()[:16]

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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from contract.errors import ContractError

__all__ = ["FIRING", "IGNORED", "RESOLVED", "UNKNOWN", "Body", "Notification", "decode"]

FIRING = "firing"
RESOLVED = "resolved"
# It ended, and nobody knows how: no data, a failing data source, a paused rule.
UNKNOWN = "unknown"
# Understood, and not meant for a pin.
IGNORED = "ignored"

# Grafana sends these as firing alerts that carry the rule's own labels, `actuate` too.
_NOT_CONDITIONS = ("DatasourceNoData", "DatasourceError", "TestAlert")
_MAX_FINGERPRINT_CHARS = 64
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
    version: str | int = ""
    truncatedAlerts: int = 0  # noqa: N815  (the sender's word)
    state: str | None = None
    ruleId: int | None = None  # noqa: N815
    ruleName: str | None = None  # noqa: N815
    tags: dict[str, str] | None = None
    message: str | None = None


class _Alert(msgspec.Struct):
    status: str
    startsAt: str  # noqa: N815
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    fingerprint: str = ""


_ROOT = msgspec.json.Decoder(_Root)
_ALERT = msgspec.json.Decoder(_Alert)


def decode(body: bytes, received_s: float, legacy_actuate: str = "") -> Body:
    """Return what `body` notifies of.

    Args:
        body: the request's body, JSON.
        received_s: seconds since 1970. No episode begins later; a legacy body, which has no start, begins one then.
        legacy_actuate: the targets of a legacy body without a tag `actuate`, "" for none.

    Raises:
        ContractError: not JSON (reason "json"), or none of the three dialects (reason "dialect").

    Sources: Grafana 13 and Prometheus Alertmanager 0.34 webhook bodies; Grafana 8 "webhook" notification channel.
    """
    try:
        root = _ROOT.decode(body)
    except msgspec.ValidationError as error:
        raise ContractError("body", body[:60], f"is none of the dialects ({error})", "dialect") from None
    except (ValueError, RecursionError):  # msgspec.DecodeError and UnicodeDecodeError are ValueErrors
        raise ContractError("body", body[:60], "is not JSON", "json") from None
    if root.alerts is not None:
        dialect = "alertmanager" if str(root.version) == "4" else "grafana"
        return Body(dialect, list(_each(root.alerts, received_s)), root.truncatedAlerts)
    if root.state:
        return Body("legacy", [_legacy(root, root.state, received_s, legacy_actuate)])
    raise ContractError("body", body[:60], "has neither alerts nor a state", "dialect")


def _each(alerts: list[msgspec.Raw], received_s: float) -> Iterator[Notification]:
    for index, raw in enumerate(alerts):
        try:
            yield _notification(_ALERT.decode(raw), received_s)
        except (ValueError, RecursionError) as error:  # one bad alert must not lose the others
            yield Notification("", 0.0, IGNORED, "", {}, {}, f"alerts[{index}]: {error}")


def _notification(alert: _Alert, received_s: float) -> Notification:
    labels, annotations = alert.labels or {}, alert.annotations or {}
    name = labels.get("alertname", "")
    status, reason = alert.status, ""
    if status not in (FIRING, RESOLVED):
        status, reason = IGNORED, f"status {status!r} is not firing or resolved"
    elif name in _NOT_CONDITIONS:
        status, reason = IGNORED, f"{name} is not a condition"
    elif status == RESOLVED and annotations.get("grafana_state_reason"):
        # MissingSeries, NoData, Error, Paused, RuleDeleted, Updated: the condition was not seen to end.
        status, reason = UNKNOWN, annotations["grafana_state_reason"]
    fingerprint = alert.fingerprint
    if not 0 < len(fingerprint) <= _MAX_FINGERPRINT_CHARS:
        fingerprint = _derived(labels)
    # An episode that began in the future (the sender's clock is ahead) would make every later one stale.
    starts_at = min(datetime.fromisoformat(alert.startsAt).timestamp(), received_s)
    return Notification(fingerprint, starts_at, status, name, labels, annotations, reason)


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
    return Notification(_derived(identity), received_s, status, name, labels, annotations, reason)


def _derived(identity: dict[str, Any]) -> str:
    """Return 16 hex digits that stand for `identity`, whatever the order of its keys."""
    ordered = msgspec.json.encode(sorted((key, str(value)) for key, value in identity.items()))
    return hashlib.sha256(ordered).hexdigest()[:16]

"""The list of active alerts: what Grafana and Alertmanager say when they are asked what is firing.

The same alerts as in a notification, in other words; pending ones are not in
it, suppressed ones (silenced, inhibited, muted) are, and say so.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from contract.errors import ContractError
from webhook.dialects import FIRING, Notification, RawAlert, notification_of

__all__ = ["Active", "active_alerts", "made_by"]

_SUPPRESSED = "suppressed"


@dataclass(frozen=True, slots=True)
class Active:
    """An alert that its maker says is firing now.

    Attributes:
        notification: what a POST would say of it.
        generator_url: where it was made; in Grafana it begins with the sender's own address.
        notifies: whether it is told to anybody: it is not while a silence or an inhibition suppresses it.
        receivers: the names of the contact points that it goes to.
    """

    notification: Notification
    generator_url: str
    notifies: bool
    receivers: tuple[str, ...]


class _State(msgspec.Struct):
    state: str


class _Receiver(msgspec.Struct):
    name: str = ""


class _Listed(msgspec.Struct):
    status: _State
    startsAt: str  # noqa: N815
    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, Any] | None = None
    receivers: list[_Receiver] | None = None
    generatorURL: str = ""  # noqa: N815


_LISTED = msgspec.json.Decoder(list[_Listed])


def active_alerts(body: bytes, sender: str) -> list[Active]:
    """Return the alerts in a list of active ones.

    Args:
        body: the answer to GET .../api/v2/alerts.
        sender: who is said to have sent those that nobody posted.

    Raises:
        ContractError: it is no such list. One alert that is none spoils all: nothing may be concluded from its absence.

    Source: Prometheus Alertmanager, api/v2/openapi.yaml (gettableAlerts); Grafana answers the same.
    """
    try:
        return [_active(one, sender) for one in _LISTED.decode(body)]
    except (ValueError, RecursionError) as error:
        raise ContractError("alerts", body[:60], f"is not a list of active alerts ({error})", "json") from None


def made_by(sender: str, generator_url: str) -> bool:
    """Tell whether an alert with this `generatorURL` can be one of `sender`.

    Grafana makes its alerts itself, below its own address; Alertmanager's come from elsewhere.
    """
    dialect, _, rest = sender.partition(" ")
    return dialect == "alertmanager" or (dialect == "grafana" and generator_url.startswith(rest.split(" ")[0] + "/"))


def _active(one: _Listed, sender: str) -> Active:
    # Grafana strips the names that begin with two underscores from what it posts.
    labels = {name: value for name, value in one.labels.items() if not name.startswith("__")}
    alert = RawAlert(FIRING, one.startsAt, None, one.annotations, one.fingerprint)
    return Active(
        notification_of(alert, labels, sender),
        one.generatorURL,
        one.status.state != _SUPPRESSED,
        tuple(receiver.name for receiver in one.receivers or ()),
    )

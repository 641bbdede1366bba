"""Routes of alerts: what senders post, and what became of it."""

from typing import Any

from webhook.access.scopes import ALERT, READ
from webhook.alerts import Alerts
from webhook.api import bodies, shapes
from webhook.api.operations import Operations
from webhook.facts import Facts

__all__ = ["alert_operations"]


def alert_operations(alerts: Alerts, facts: Facts) -> Operations:
    """Return the routes of alerts."""
    api = Operations()

    @api.operation(
        "POST",
        "/alert",
        scope=ALERT,
        body=bodies.NOTIFICATION,
        answer=shapes.Taken,
        refuses=(400, 413, 503),
        direct=True,
    )
    def post_alert(body: bytes) -> dict[str, Any]:
        """Take alerts of Grafana, Alertmanager or Grafana's legacy channel."""
        return alerts.receive(body)

    @api.operation("GET", "/alerts", scope=READ, answer=shapes.AlertList)
    def get_alerts() -> dict[str, Any]:
        """List the alerts that fire, then the last 20 that ended."""
        return {"alerts": facts.alerts()}

    return api

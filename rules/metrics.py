"""What the service counts; every discard has a reason from a closed list."""

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "DELIVERED", "EVALUATED", "FIRING_NOW", "IGNORED", "NOTIFICATIONS", "POST_SECONDS", "REFUSED", "RELOADS", "RETRIED",
    "STALE", "STATE_ERRORS", "TRANSITIONS", "WAITING",
]  # fmt: skip

DELIVERED, RETRIED, REFUSED, STALE = "delivered", "retried", "refused", "stale"

EVALUATED = Counter("rules_readings_evaluated_total", "Readings that a rule was evaluated for.")
IGNORED = Counter("rules_readings_ignored_total", "Messages that no rule saw: their reason.", ["reason"])
FIRING_NOW = Gauge("rules_alerts_firing", "Alerts that fire now.")
TRANSITIONS = Counter("rules_transitions_total", "Alerts that changed, by what they became.", ["to"])
NOTIFICATIONS = Counter("rules_notifications_total", "Notifications, by what became of them.", ["outcome"])
WAITING = Gauge("rules_notifications_waiting", "Alerts whose newest notification the webhook does not have yet.")
POST_SECONDS = Histogram(
    "rules_post_seconds",
    "From a reading's receipt (or the tick) to the webhook's answer.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 2.5, 5, 10),
)
RELOADS = Counter("rules_reloads_total", "Times that the rules file was loaded again, by result.", ["result"])
STATE_ERRORS = Counter("rules_state_errors_total", "Writes of the state database that failed.")

for _reason in ("retained", "invalid", "repeated", "old"):
    IGNORED.labels(_reason)
for _result in ("ok", "bad"):
    RELOADS.labels(_result)
for _outcome in (DELIVERED, RETRIED, REFUSED, STALE):
    NOTIFICATIONS.labels(_outcome)

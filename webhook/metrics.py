"""What the webhook counts; /metrics shows it."""

from prometheus_client import Counter, Gauge, Histogram

ALERTS = Counter("webhook_alerts_total", "Notifications of alerts.", ["dialect", "outcome"])
TRUNCATED = Counter("webhook_truncated_alerts_total", "Alerts that senders left out of their bodies (maxAlerts).")
REJECTED = Counter("webhook_rejected_total", "Requests that were refused.", ["reason"])
CLAIMS = Gauge("webhook_claims", "Active claims.", ["slot"])
PUBLISHED = Counter("webhook_commands_published_total", "Commands that were sent to the broker.", ["reason"])
UNSENT = Counter("webhook_commands_unsent_total", "Commands that waited because the broker was away.")
PUBACK_S = Histogram(
    "webhook_puback_seconds",
    "From sending a command to the broker's acknowledgement.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2),
)
REPORT_S = Histogram(
    "webhook_report_seconds",
    "From a changed command to the device's report that it followed.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)
DRIFT_PINS = Gauge("webhook_drift_pins", "Pins that have not been what they should be for longer than drift_s.")
GUARD_HOLDS = Counter("webhook_guard_holds_total", "Wishes that a guard has held back.", ["guard"])
HELD_PINS = Gauge("webhook_held_pins", "Pins at which a wish waits for a guard.", ["guard"])
DRY_RUN = Gauge("webhook_dry_run", "1 while no command of any pin is sent.")
DRY_RUN_COMMANDS = Counter("webhook_dry_run_commands_total", "Commands that were decided and, in dry-run, not sent.")
REFUSED_MESSAGES = Counter("webhook_refused_messages_total", "Messages of devices outside the contract.", ["reason"])
READBACKS = Counter("webhook_readbacks_total", "Reads of the active alerts.", ["source", "outcome"])
READBACK_OK = Gauge("webhook_readback_ok", "1 when the last read of the active alerts succeeded.", ["source"])
READ_BACK = Counter("webhook_read_back_total", "Alerts that such a read asserted again or ended.", ["source", "what"])
ROUTES_RELOADS = Counter("webhook_routes_reloads_total", "Times that routes.yml was read again.", ["result"])
PINS_RELOADS = Counter("webhook_pins_reloads_total", "Times that pins.yml was read again.", ["result"])
FOREIGN_REFUSED = Counter("webhook_foreign_refused_total", "Messages of other firmware not understood.", ["device"])
QUARANTINED = Gauge("webhook_quarantined_topics", "Topics at which the broker hangs up, and that rest.", ["session"])
QUARANTINE_HELD = Counter("webhook_quarantine_held_total", "Messages held back by the quarantine.", ["session"])

"""The dashboard *Pinloop itself*: are the services there, do they keep up, what do they refuse, how fast do they react.

From the measurement `services`, which the listener fills from their /metrics every 15 s.
"""

from grafana.builders.panels import OFFLINE_ONLINE, Json, dashboard, query, stat, timeseries
from grafana.builders.queries import mean_of, rate, select

__all__ = ["itself"]

_HOW_SLOW = {
    "A": ("rules_post_seconds", "rules", "reading received to webhook's answer"),
    "B": ("webhook_puback_seconds", "webhook", "command sent to broker's word"),
    "C": ("webhook_report_seconds", "webhook", "command changed to pin's report"),
    "D": ("listener_write_seconds", "listener", "write into the store"),
}


def itself() -> Json:
    """Return the dashboard."""
    up = select('last("up")', "services", group_by='"service"')
    panels = [
        stat("Services", 12, 4, query(up, "$tag_service"), words=OFFLINE_ONLINE),
        stat("Pins drifting", 3, 4, _last("webhook_drift_pins", "webhook"), bad_from=1),
        stat("Dead letters", 3, 4, _last("listener_dead_letters_kept", "listener"), bad_from=1),
        stat("Alerts not delivered", 3, 4, _last("rules_notifications_waiting", "rules"), bad_from=1),
        stat("Waiting for the store", 3, 4, _last("listener_queue_bytes", "listener"), unit="bytes"),
        _rates("Readings", _rate("listener_readings_total", "listener", "outcome")),
        _rates("Messages taken from the broker", _rate("listener_messages_total", "listener"),
               _rate("hub_messages_total", "hub", ref="B")),
        _slow(),
        _figures("Waiting for the store over time", "bytes", _level("listener_queue_bytes")),
        _figures("In the spool, by store", "bytes", _level("listener_spool_behind_bytes", "store")),
        _rates("Commands sent, by reason", _rate("webhook_commands_published_total", "webhook", "reason")),
        _rates("Alerts, by what became of them", _rate("webhook_alerts_total", "webhook", "dialect", "outcome")),
        _rates("Refused, by reason", _rate("listener_messages_rejected_total", "listener", "reason"),
               _rate("rules_readings_ignored_total", "rules", "reason", ref="B"),
               _rate("webhook_rejected_total", "webhook", "reason", ref="C")),
        _rates("Writes into the store, by outcome", _rate("listener_writes_total", "listener", "outcome")),
        _figures("Memory", "bytes", _level("process_resident_memory_bytes")),
        _figures("Processor", "percentunit", query(_cpu(), "$tag_service")),
    ]  # fmt: skip
    return dashboard("pinloop-itself", "Pinloop itself", panels, since="now-1h", refresh="15s")


def _slow() -> Json:
    targets = [query(mean_of(metric, name), alias, ref=ref) for ref, (metric, name, alias) in _HOW_SLOW.items()]
    return _figures("How long it takes (mean)", "s", *targets)


def _figures(title: str, unit: str, *targets: Json) -> Json:
    # They come every 15 s: finer intervals would be empty.
    return timeseries(title, 12, 8, targets, unit=unit, least_interval="30s")


def _rates(title: str, *targets: Json) -> Json:
    return _figures(title, "cps", *targets)


def _rate(metric: str, service: str, *by: str, ref: str = "A") -> Json:
    return query(rate(metric, service, *by), " ".join([service, *(f"$tag_{label}" for label in by)]), ref=ref)


def _level(metric: str, tag: str = "service") -> Json:
    text = select(f'last("{metric}")', "services", group_by=f'time($__interval), "{tag}"', fill="null")
    return query(text, f"$tag_{tag}")


def _last(metric: str, service: str) -> Json:
    return query(select(f'last("{metric}")', "services", f"\"service\" = '{service}'"), table=True)


def _cpu() -> str:
    what = 'non_negative_derivative(last("process_cpu_seconds_total"), 1s)'
    return select(what, "services", group_by='time($__interval), "service"')

"""The dashboard *Overview*: is everything there, what do the sensors say, what did the pins do, and why."""

from grafana.builders.panels import (
    OFF_ON,
    OFFLINE_ONLINE,
    Json,
    alert_list,
    annotation,
    dashboard,
    fields_variable,
    query,
    stat,
    state_timeline,
    tag_variable,
    timeseries,
)

__all__ = ["overview"]


def overview() -> Json:
    """Return the dashboard."""
    device, pin = 'time($__interval), "device"', 'time($__interval), "device", "pin"'
    readings = _select('mean("${sensor:raw}")', "readings", device, "fill(none)")
    pins = _select('last("desired") AS "desired", last("reported") AS "reported"', "pins", pin, "fill(previous)")
    online = _select('last("online")', "devices", device, "fill(previous)")
    panels = [
        stat("Devices online", 4, 4, _count("devices", 'last("online")', "> 0")),
        stat("Devices offline", 4, 4, _count("devices", 'last("online")', "= 0"), bad_from=1),
        stat("Pins on", 4, 4, _count("pins", 'last("reported")', "> 0")),
        stat("Pins not as desired", 4, 4, _count("pins", 'last("desired") - last("reported")', "<> 0"), bad_from=1),
        alert_list("Alerts", 8, 4),
        state_timeline("Pins: desired and reported", 24, 8, query(pins, "$tag_device/$tag_pin $col"), OFF_ON),
        timeseries("$sensor", 12, 8, query(readings, "$tag_device"), repeat="sensor"),
        state_timeline("Devices online", 24, 6, query(online, "$tag_device"), OFFLINE_ONLINE),
    ]
    return dashboard(
        "pinloop-overview",
        "Overview",
        panels,
        variables=[tag_variable("device", "devices", "device"), fields_variable("sensor", "readings", ("n", "boot"))],
        annotations=[
            annotation(
                "Actuations",
                _select('"source", "device", "pin", "slot"', "actuations"),
                text="source",
                tags="device,pin,slot",
                colour="orange",
            )
        ],
    )


def _select(what: str, measurement: str, group_by: str = "", fill: str = "") -> str:
    """Return the InfluxQL for the chosen devices in the chosen time."""
    wanted = f'SELECT {what} FROM "{measurement}" WHERE "device" =~ /^$device$/ AND $timeFilter'  # noqa: S608  (ours)
    return f"{wanted} GROUP BY {group_by} {fill}".strip() if group_by else wanted


def _count(measurement: str, expression: str, condition: str) -> Json:
    """Return the query for how many devices (or pins) there are for which `expression` keeps to `condition`."""
    each = _select(f'{expression} AS "x"', measurement, '"device", "pin"')
    return query(f'SELECT count("x") FROM ({each}) WHERE "x" {condition}', table=True)  # noqa: S608  (ours)

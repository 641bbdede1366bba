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


# A device that has been there for days has said so once: its last word counts, however old.
_LONG_AGO = "time > now() - 30d"
# The listener notes a change twice: when a pin is told, and when it reports that it did.
_REPORTED = "\"event\" = 'reported'"


def overview() -> Json:
    """Return the dashboard."""
    device, pin = 'time($__interval), "device"', 'time($__interval), "device", "pin"'
    readings = _select('mean("${sensor:raw}")', "readings", device, "fill(null)")
    # What a pin is told holds while it is renewed; what it reported holds until it reports something else.
    desired = _select('last("desired") AS "desired"', "pins", pin, "fill(null)")
    reported = _select('last("reported") AS "reported"', "pins", pin, "fill(previous)")
    online = _select('last("online")', "devices", device, "fill(previous)")
    panels = [
        stat("Devices online", 4, 4, _count("devices", "online", "> 0")),
        stat("Devices offline", 4, 4, _count("devices", "online", "= 0"), bad_from=1),
        stat("Pins on", 4, 4, _count("pins", "reported", "> 0")),
        stat("Pins switched", 4, 4, query(_select('count("value")', "actuations", only=_REPORTED), table=True)),
        alert_list("Alerts", 8, 4),
        state_timeline(
            "Pins: desired and reported",
            24,
            8,
            [
                query(desired, "$tag_device/$tag_pin desired"),
                query(reported, "$tag_device/$tag_pin reported", ref="B"),
            ],
            OFF_ON,
        ),
        timeseries("$sensor", 12, 8, query(readings, "$tag_device"), repeat="sensor"),
        state_timeline("Devices", 24, 6, [query(online, "$tag_device")], OFFLINE_ONLINE),
    ]
    return dashboard(
        "pinloop-overview",
        "Overview",
        panels,
        variables=[tag_variable("device", "devices", "device"), fields_variable("sensor", "readings", ("n", "boot"))],
        annotations=[
            annotation(
                "Switched by",
                _select('"source", "device", "pin", "slot"', "actuations", only=_REPORTED),
                text="source",
                tags="device,pin,slot",
                colour="orange",
            )
        ],
    )


def _select(
    what: str, measurement: str, group_by: str = "", fill: str = "", when: str = "$timeFilter", only: str = ""
) -> str:
    """Return the InfluxQL for the chosen devices."""
    conditions = " AND ".join(filter(None, ('"device" =~ /^$device$/', only, when)))
    wanted = f'SELECT {what} FROM "{measurement}" WHERE {conditions}'  # noqa: S608  (all of it is written here)
    return f"{wanted} GROUP BY {group_by} {fill}".strip() if group_by else wanted


def _count(measurement: str, field: str, condition: str) -> Json:
    """Return the query for how many devices (or pins) there are whose last `field` keeps to `condition`."""
    each = _select(f'last("{field}") AS "x"', measurement, '"device", "pin"', when=_LONG_AGO)
    return query(f'SELECT count("x") FROM ({each}) WHERE "x" {condition}', table=True)  # noqa: S608  (as above)

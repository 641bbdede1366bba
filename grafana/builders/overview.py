"""The dashboard *Overview*: is everything there, what do the sensors say, what did the pins do, and why."""

from grafana.builders.panels import (
    OFF_ON,
    OFFLINE_ONLINE,
    Json,
    alert_list,
    dashboard,
    query,
    stat,
    state_timeline,
    tag_variable,
    timeseries,
    to_device,
)
from grafana.builders.parts import sensor, switched_by, told_and_reported
from grafana.builders.queries import BY_DEVICE, DEVICES, REPORTED, differing, number_of, select

__all__ = ["overview"]


def overview() -> Json:
    """Return the dashboard."""
    readings = select('mean("${sensor:raw}")', "readings", DEVICES, group_by=BY_DEVICE, fill="null")
    online = select('last("online")', "devices", DEVICES, group_by=BY_DEVICE, fill="previous")
    firing = select('last("rules_alerts_firing")', "services", "\"service\" = 'rules'")
    panels = [
        stat("Devices online", 4, 4, query(number_of("devices", "online", "> 0"), table=True)),
        stat("Devices offline", 4, 4, query(number_of("devices", "online", "= 0"), table=True), bad_from=1),
        stat("Pins on", 4, 4, query(number_of("pins", "reported", "> 0"), table=True)),
        stat("Pins not as told", 4, 4, query(differing(), table=True), bad_from=1),
        stat("Pins switched", 4, 4, query(select('count("value")', "actuations", DEVICES, REPORTED), table=True)),
        stat("Alerts of stream rules", 4, 4, query(firing, table=True), warn_from=1),
        state_timeline("Pins: desired and reported", 16, 8, told_and_reported(), OFF_ON),
        alert_list("Alerts of Grafana's rules", 8, 8),
        to_device(timeseries("$sensor", 12, 8, [query(readings, "$tag_device")], repeat="sensor")),
        to_device(state_timeline("Devices", 24, 6, [query(online, "$tag_device")], OFFLINE_ONLINE)),
    ]
    return dashboard(
        "pinloop-overview",
        "Overview",
        panels,
        variables=[tag_variable("device", "devices", "device"), sensor()],
        annotations=[switched_by()],
    )

"""The dashboard *Device*: one device, its readings, its pins and who switched them, its signal, memory and uptime."""

from grafana.builders.panels import (
    OFF_ON,
    OFFLINE_ONLINE,
    Json,
    dashboard,
    query,
    stat,
    state_timeline,
    tag_variable,
    timeseries,
)
from grafana.builders.parts import asked_by, sensor, switched_by, told_and_reported
from grafana.builders.queries import DEVICES, LONG_AGO, select

__all__ = ["device"]


def device() -> Json:
    """Return the dashboard."""
    panels = [
        stat("Now", 6, 4, _last("online"), words=OFFLINE_ONLINE),
        stat("Up for", 6, 4, _last("uptime_s"), unit="s", decimals=1),
        stat("Wi-Fi signal", 6, 4, _last("rssi"), unit="dBm"),
        stat("Free memory", 6, 4, _last("heap"), unit="bytes"),
        timeseries(
            "$sensor", 12, 8, [query(_each('mean("${sensor:raw}")', "readings"), "$tag_device")], repeat="sensor"
        ),
        state_timeline("Pins: desired and reported", 24, 8, told_and_reported(), OFF_ON),
        timeseries("Wi-Fi signal over time", 8, 7, [query(_each('mean("rssi")', "devices"), "signal")], unit="dBm"),
        timeseries("Free memory over time", 8, 7, [query(_each('min("heap")', "devices"), "free")], unit="bytes"),
        timeseries("Uptime: a fall is a restart", 8, 7, [query(_each('last("uptime_s")', "devices"), "up")], unit="s"),
    ]
    return dashboard(
        "pinloop-device",
        "Device",
        panels,
        variables=[tag_variable("device", "devices", "device", several=False), sensor()],
        annotations=[asked_by(), switched_by()],
    )


def _last(field: str) -> Json:
    return query(select(f'last("{field}")', "devices", DEVICES, when=LONG_AGO), table=True)


def _each(what: str, measurement: str) -> str:
    return select(what, measurement, DEVICES, group_by='time($__interval), "device"', fill="null")

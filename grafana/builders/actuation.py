"""The dashboard *Actuation*: who switched what, why, and how long it took."""

from grafana.builders.panels import Json, bars, dashboard, query, stat, table, tag_variable, timeseries
from grafana.builders.queries import DEVICES, REPORTED, select

__all__ = ["actuation"]

_PINS = '"pin" =~ /^$pin$/'
_CHOSEN = (DEVICES, _PINS, REPORTED)
_TOLD = (DEVICES, _PINS, "\"event\" = 'desired'")
_BY_ITSELF = "\"slot\" = 'device'"


def actuation() -> Json:
    """Return the dashboard."""
    by_slot = select('count("value")', "actuations", *_CHOSEN, group_by='time($__interval), "slot"', fill="0")
    took = select('max("took_s")', "actuations", *_CHOSEN, group_by='time($__interval), "device", "pin"', fill="none")
    columns = '"device", "pin", "value", "slot", "source", "took_s"'
    asked = '"device", "pin", "value", "slot", "source"'
    panels = [
        stat("Switched", 6, 4, _one('count("value")')),
        stat("... by the device itself", 6, 4, _one('count("value")', _BY_ITSELF)),
        stat("Half took less than", 6, 4, _one('percentile("took_s", 50)'), unit="s", decimals=3),
        stat("95 % took less than", 6, 4, _one('percentile("took_s", 95)'), unit="s", decimals=3),
        bars("Switched, by who asked", 12, 8, [query(by_slot, "$tag_slot")]),
        timeseries(
            "From the command to the pin's report", 12, 8, [query(took, "$tag_device/$tag_pin")], unit="s", dots=True
        ),
        table(
            "What switched, who asked for it, how long it took",
            24,
            10,
            query(_newest(columns, _CHOSEN), table=True),
            {"value": "to", "slot": "by", "source": "why", "took_s": "took (s)"},
        ),
        table(
            "What was asked for: a command or its end",
            24,
            8,
            query(_newest(asked, _TOLD), table=True),
            {"value": "to", "slot": "by", "source": "why"},
        ),
    ]
    return dashboard(
        "pinloop-actuation",
        "Actuation",
        panels,
        variables=[tag_variable("device", "actuations", "device"), tag_variable("pin", "actuations", "pin")],
        since="now-6h",
    )


def _one(what: str, *only: str) -> Json:
    return query(select(what, "actuations", *_CHOSEN, *only), table=True)


def _newest(columns: str, only: tuple[str, ...]) -> str:
    return select(columns, "actuations", *only) + " ORDER BY time DESC LIMIT 500"

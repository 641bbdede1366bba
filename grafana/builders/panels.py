"""Panels, queries and variables of a Grafana dashboard (JSON model v1), as dicts.

Only what our dashboards use. Sizes are in Grafana's grid: 24 columns wide, a
row of the grid is 30 px high.
"""

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "OFFLINE_ONLINE",
    "OFF_ON",
    "Json",
    "alert_list",
    "annotation",
    "dashboard",
    "fields_variable",
    "query",
    "stat",
    "state_timeline",
    "tag_variable",
    "timeseries",
]

Json = dict[str, Any]

SOURCE = {"type": "influxdb", "uid": "influxdb"}
# Queries fill empty intervals with null; a line or bar bridges a gap up to this long and shows a longer one. Commands
# are renewed every 100 s, devices say that they live every 60 s.
_SILENCE_MS = 150_000

# Value -> (text, colour).
OFF_ON = {"0": ("off", "#6e7681"), "1": ("on", "green")}
OFFLINE_ONLINE = {"0": ("offline", "red"), "1": ("online", "green")}


def query(influxql: str, alias: str = "", table: bool = False, ref: str = "A") -> Json:
    """Return a query; `alias` names its series ($tag_<tag>, $col), `ref` tells a panel's queries apart."""
    form = "table" if table else "time_series"
    return {
        "refId": ref,
        "datasource": SOURCE,
        "rawQuery": True,
        "query": influxql,
        "resultFormat": form,
        "alias": alias,
    }


def timeseries(title: str, width: int, height: int, target: Json, repeat: str = "") -> Json:
    """Return lines over time; with `repeat` one such panel for each value of that variable, two in a row."""
    custom = {"lineWidth": 2, "fillOpacity": 8, "spanNulls": _SILENCE_MS}
    panel = _panel("timeseries", title, width, height, [target], {"custom": custom})
    panel["options"] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    if repeat:
        panel |= {"repeat": repeat, "repeatDirection": "h", "maxPerRow": 2}
    return panel


def state_timeline(
    title: str, width: int, height: int, targets: Sequence[Json], words: dict[str, tuple[str, str]]
) -> Json:
    """Return a bar for each series, coloured by value; `words` is value -> (text, colour)."""
    mapping = {
        value: {"index": index, "text": text, "color": colour}
        for index, (value, (text, colour)) in enumerate(words.items())
    }
    defaults = {
        "mappings": [{"type": "value", "options": mapping}],
        "custom": {"fillOpacity": 80, "lineWidth": 0, "spanNulls": _SILENCE_MS},
    }
    panel = _panel("state-timeline", title, width, height, targets, defaults)
    panel["options"] = {"mergeValues": True, "rowHeight": 0.8, "showValue": "auto", "legend": {"showLegend": False}}
    return panel


def stat(title: str, width: int, height: int, target: Json, bad_from: float | None = None) -> Json:
    """Return one number; it turns red from `bad_from` on."""
    steps: list[Json] = [{"color": "green", "value": None}]
    if bad_from is not None:
        steps.append({"color": "red", "value": bad_from})
    defaults = {"noValue": "0", "decimals": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    panel = _panel("stat", title, width, height, [target], defaults)
    panel["options"] = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
    }
    return panel


def alert_list(title: str, width: int, height: int) -> Json:
    """Return the alerts that fire or wait to fire now."""
    panel = _panel("alertlist", title, width, height, [], {})
    panel["options"] = {
        "viewMode": "list",
        "groupMode": "default",
        "maxItems": 20,
        "sortOrder": 3,  # newest first
        "stateFilter": {
            "firing": True,
            "pending": True,
            "recovering": True,
            "error": True,
            "noData": False,
            "normal": False,
        },
    }
    return panel


def tag_variable(name: str, measurement: str, tag: str) -> Json:
    """Return a variable over the values of a tag, all of them unless chosen otherwise."""
    return _variable(name, f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "{tag}"', "")


def fields_variable(name: str, measurement: str, but: Iterable[str]) -> Json:
    """Return a variable over the fields of a measurement, without those in `but`."""
    others = "|".join(f"{field}$" for field in but)
    return _variable(name, f'SHOW FIELD KEYS FROM "{measurement}"', f"/^(?!{others})(.+)$/")


def annotation(name: str, influxql: str, text: str, tags: str, colour: str) -> Json:
    """Return marks in every panel: one for each row of the query, with the column `text` and the columns `tags`."""
    target = {"refId": "Anno", "fromAnnotations": True, "query": influxql, "textColumn": text, "tagsColumn": tags}
    return {"name": name, "datasource": SOURCE, "enable": True, "iconColor": colour, "target": target}


def dashboard(
    uid: str, title: str, panels: Sequence[Json], variables: Sequence[Json] = (), annotations: Sequence[Json] = ()
) -> Json:
    """Return a dashboard; panels flow from left to right and wrap at 24 columns."""
    _lay_out(panels)
    return {
        "uid": uid,
        "title": title,
        "tags": ["pinloop"],
        "schemaVersion": 42,
        "editable": False,
        "graphTooltip": 1,  # the cross-hair is shared: what was the reading when the pin switched?
        "refresh": "5s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": list(annotations)},
        "templating": {"list": list(variables)},
        "panels": list(panels),
    }


def _panel(kind: str, title: str, width: int, height: int, targets: Sequence[Json], defaults: Json) -> Json:
    panel: Json = {"type": kind, "title": title, "gridPos": {"w": width, "h": height}}
    panel["fieldConfig"] = {"defaults": defaults, "overrides": []}
    if targets:
        panel |= {"datasource": SOURCE, "targets": list(targets)}
    return panel


def _variable(name: str, influxql: str, regex: str) -> Json:
    return {
        "type": "query",
        "name": name,
        "datasource": SOURCE,
        "query": influxql,
        "regex": regex,
        "refresh": 2,  # when the time range changes: a new device appears by itself
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _lay_out(panels: Sequence[Json]) -> None:
    x = y = row_height = 0
    for number, panel in enumerate(panels, 1):
        place = panel["gridPos"]
        if x + place["w"] > 24:
            x, y, row_height = 0, y + row_height, 0
        place |= {"x": x, "y": y}
        panel["id"] = number
        x += place["w"]
        row_height = max(row_height, place["h"])

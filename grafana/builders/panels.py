"""Panels, queries and variables of a Grafana dashboard (JSON model v1), as dicts.

Only what our dashboards use. Sizes are in Grafana's grid: 24 columns wide, a
row of the grid is 30 px high.
"""

from collections.abc import Sequence
from typing import Any

__all__ = [
    "OFFLINE_ONLINE",
    "OFF_ON",
    "Json",
    "alert_list",
    "annotation",
    "bars",
    "dashboard",
    "query",
    "stat",
    "state_timeline",
    "table",
    "tag_variable",
    "timeseries",
    "to_device",
]

Json = dict[str, Any]

SOURCE = {"type": "influxdb", "uid": "influxdb"}
# Queries fill empty intervals with null; a line or bar bridges a gap up to this long and shows a longer one. Commands
# are renewed every 100 s, devices say that they live every 60 s.
_SILENCE_MS = 150_000

# To the other dashboards, for the same time.
_LINKS = {
    "type": "dashboards",
    "tags": ["pinloop"],
    "title": "Dashboards",
    "asDropdown": False,
    "includeVars": False,
    "keepTime": True,
}

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


def timeseries(
    title: str,
    width: int,
    height: int,
    targets: Sequence[Json],
    repeat: str = "",
    unit: str = "short",
    least_interval: str = "",
    dots: bool = False,
) -> Json:
    """Return lines (or dots) over time.

    Args:
        repeat: a variable; there is one such panel for each of its values, two in a row.
        unit: Grafana's name of it, as "s", "bytes", "dBm", "cps".
        least_interval: what $__interval is at least, as "30s".
    """
    custom: Json = {"lineWidth": 2, "fillOpacity": 8, "spanNulls": _SILENCE_MS}
    if dots:
        custom = {"drawStyle": "points", "pointSize": 6}
    panel = _panel("timeseries", title, width, height, targets, {"custom": custom, "unit": unit})
    panel["options"] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    if repeat:
        panel |= {"repeat": repeat, "repeatDirection": "h", "maxPerRow": 2}
    if least_interval:
        panel["interval"] = least_interval
    return panel


def to_device(panel: Json) -> Json:
    """Return the panel with a link from each series of a device to that device's dashboard."""
    link = {
        "title": "Device ${__field.labels.device}",
        "url": "/d/pinloop-device?var-device=${__field.labels.device}&${__url_time_range}",
    }
    panel["fieldConfig"]["defaults"]["links"] = [link]
    return panel


def bars(title: str, width: int, height: int, targets: Sequence[Json]) -> Json:
    """Return stacked bars over time, about sixty of them."""
    panel = timeseries(title, width, height, targets)
    stacking = {"mode": "normal", "group": "A"}
    panel["fieldConfig"]["defaults"] = {
        "custom": {"drawStyle": "bars", "fillOpacity": 80, "lineWidth": 0, "stacking": stacking},
        "unit": "short",
        "decimals": 0,
    }
    return panel | {"maxDataPoints": 60}


def table(title: str, width: int, height: int, target: Json, names: dict[str, str]) -> Json:
    """Return rows as they are; `names` is column -> what stands above it, for those that are not called so."""
    panel = _panel("table", title, width, height, [target], {"custom": {"filterable": True}})
    panel["options"] = {"showHeader": True, "cellHeight": "sm"}
    panel["transformations"] = [{"id": "organize", "options": {"renameByName": names}}]
    return panel


def state_timeline(
    title: str, width: int, height: int, targets: Sequence[Json], words: dict[str, tuple[str, str]]
) -> Json:
    """Return a bar for each series, coloured by value; `words` is value -> (text, colour)."""
    defaults = {
        "mappings": _mappings(words),
        "custom": {"fillOpacity": 80, "lineWidth": 0, "spanNulls": _SILENCE_MS},
    }
    panel = _panel("state-timeline", title, width, height, targets, defaults)
    panel["options"] = {"mergeValues": True, "rowHeight": 0.8, "showValue": "auto", "legend": {"showLegend": False}}
    return panel


def stat(
    title: str,
    width: int,
    height: int,
    target: Json,
    bad_from: float | None = None,
    warn_from: float | None = None,
    unit: str = "none",
    decimals: int = 0,
    words: "dict[str, tuple[str, str]] | None" = None,
) -> Json:
    """Return one number for each series; it turns orange from `warn_from` and red from `bad_from` on.

    Args:
        words: value -> (text, colour), in the number's place.
    """
    steps: list[Json] = [{"color": "green", "value": None}]
    for limit, colour in ((warn_from, "orange"), (bad_from, "red")):
        if limit is not None:
            steps.append({"color": colour, "value": limit})
    defaults: Json = {"decimals": decimals, "unit": unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if words:
        defaults["mappings"] = _mappings(words)
    elif unit == "none":
        defaults["noValue"] = "0"  # a count of what is not there
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


def tag_variable(name: str, measurement: str, tag: str, only: str = "", several: bool = True) -> Json:
    """Return a variable over the values of a tag, all of them unless chosen otherwise; or one, the first.

    Args:
        only: a condition on other tags.
        several: whether more than one value can be chosen.
    """
    where = f" WHERE {only}" if only else ""
    variable = _variable(name, f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "{tag}"{where}')
    return variable if several else variable | {"multi": False, "includeAll": False, "current": {}}


def annotation(name: str, influxql: str, text: str, tags: str, colour: str) -> Json:
    """Return marks in every panel: one for each row of the query, with the column `text` and the columns `tags`."""
    target = {"refId": "Anno", "fromAnnotations": True, "query": influxql, "textColumn": text, "tagsColumn": tags}
    return {"name": name, "datasource": SOURCE, "enable": True, "iconColor": colour, "target": target}


def dashboard(
    uid: str,
    title: str,
    panels: Sequence[Json],
    variables: Sequence[Json] = (),
    annotations: Sequence[Json] = (),
    since: str = "now-30m",
    refresh: str = "5s",
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
        "refresh": refresh,
        "time": {"from": since, "to": "now"},
        "timezone": "browser",
        "annotations": {"list": list(annotations)},
        "templating": {"list": list(variables)},
        "links": [_LINKS],
        "panels": list(panels),
    }


def _panel(kind: str, title: str, width: int, height: int, targets: Sequence[Json], defaults: Json) -> Json:
    panel: Json = {"type": kind, "title": title, "gridPos": {"w": width, "h": height}}
    panel["fieldConfig"] = {"defaults": defaults, "overrides": []}
    if targets:
        panel |= {"datasource": SOURCE, "targets": list(targets)}
    return panel


def _mappings(words: dict[str, tuple[str, str]]) -> list[Json]:
    options = {
        value: {"index": index, "text": text, "color": colour}
        for index, (value, (text, colour)) in enumerate(words.items())
    }
    return [{"type": "value", "options": options}]


def _variable(name: str, influxql: str) -> Json:
    return {
        "type": "query",
        "name": name,
        "datasource": SOURCE,
        "query": influxql,
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

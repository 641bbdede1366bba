"""The dashboards: the committed JSON is the built one, holds together, and its queries find what the services store."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import urllib3

import hub.intake
import listener.metrics
import rules.metrics
import webhook.metrics
from grafana.build import files
from listener.assemble import Assembler
from listener.decode import Decoder, Refused
from listener.figures import away, figures
from store.lines import lines
from store.points import Point
from tests.support.ports import free_port
from tests.support.processes import start
from tests.support.requirements import need
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
DASHBOARDS = [json.loads(text) for text in files().values()]
Query = Callable[[str], list[dict[str, Any]]]
DEVICES = "(lights|porch|pot)"


def panels() -> list[dict[str, Any]]:
    """Return every panel of every dashboard."""
    return [panel for dashboard in DASHBOARDS for panel in dashboard["panels"]]


def test_the_committed_dashboards_are_the_built_ones() -> None:
    """Stale or left over: run `python -m grafana.build`."""
    committed = {path: path.read_text(encoding="utf-8") for path in (ROOT / "grafana" / "dashboards").glob("*.json")}

    assert committed == files()


def test_every_dashboard_has_its_own_uid_and_title() -> None:
    """Grafana refuses a second one of the same uid; it must be short and plain."""
    uids = [one["uid"] for one in DASHBOARDS]

    assert len({*uids}) == len({one["title"] for one in DASHBOARDS}) == len(DASHBOARDS)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", uid) for uid in uids)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one["uid"])
def test_no_two_panels_of_a_dashboard_share_an_id_or_a_place(dashboard: dict[str, Any]) -> None:
    """And none reaches beyond the 24 columns."""
    cells: list[tuple[int, int]] = []
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        assert columns.stop <= 24
        cells += [(x, y) for x in columns for y in rows]

    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_query_goes_to_the_provisioned_data_source() -> None:
    """By its fixed uid; the list of alerts asks none."""
    asking = [panel for panel in panels() if panel["type"] != "alertlist"]
    assert all(panel["targets"] for panel in asking)
    sources = [part["datasource"] for panel in asking for part in (panel, *panel["targets"])]
    sources += [
        part["datasource"] for one in DASHBOARDS for part in (*one["templating"]["list"], *one["annotations"]["list"])
    ]

    assert {(one["type"], one["uid"]) for one in sources} == {("influxdb", "influxdb")}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one["uid"])
def test_every_variable_that_is_used_exists(dashboard: dict[str, Any]) -> None:
    """Beside Grafana's own, and the tags and columns in series names."""
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z_]+)", json.dumps(dashboard["panels"]) + json.dumps(dashboard["annotations"])))

    used -= {"__interval", "time", "timeFilter", "__field", "__url_time_range"}
    assert {name for name in used if not name.startswith("tag_")} <= variables
    assert {panel["repeat"] for panel in dashboard["panels"] if "repeat" in panel} <= variables


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_series_is_called_by_tags_that_its_query_groups_by(panel: dict[str, Any]) -> None:
    """Grafana shows `$tag_x` as it is when there is no such tag; two targets of a panel have their own letters."""
    targets = panel.get("targets", [])
    for target in targets:
        assert set(re.findall(r"\$tag_(\w+)", target["alias"])) <= set(
            re.findall(r'"(\w+)"', target["query"].rpartition("GROUP BY")[2])
        )
    assert len({target["refId"] for target in targets}) == len(targets)


def test_a_link_to_a_device_leads_to_its_dashboard() -> None:
    """With its name in the variable that the dashboard has, and the labels that the series have."""
    (target,) = [one for one in DASHBOARDS if one["uid"] == "pinloop-device"]
    linked = [panel for panel in panels() if "links" in panel["fieldConfig"]["defaults"]]

    assert {"device"} <= {one["name"] for one in target["templating"]["list"]}
    assert len(linked) == 2
    for panel in linked:
        (link,) = panel["fieldConfig"]["defaults"]["links"]
        assert link["url"].startswith(f"/d/{target['uid']}?var-device=${{__field.labels.device}}")
        assert all('"device"' in one["query"].rpartition("GROUP BY")[2] for one in panel["targets"])


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    """A real InfluxDB 1 (the same InfluxQL) with a few minutes of a small world; returns a function that asks it."""
    program = need("influxd", "apt-get install influxdb")
    folder = tmp_path_factory.mktemp("influx")
    port, rpc = free_port(), free_port()
    settings = {
        "INFLUXDB_REPORTING_DISABLED": "true",
        "INFLUXDB_BIND_ADDRESS": f"127.0.0.1:{rpc}",
        "INFLUXDB_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
        **{f"INFLUXDB_{name}_DIR": str(folder / name) for name in ("META", "DATA")},
        "INFLUXDB_DATA_WAL_DIR": str(folder / "wal"),
    }
    process = start([program], folder / "influxd.out", env={**os.environ, **settings})
    http, url = urllib3.PoolManager(retries=False, timeout=10), f"http://127.0.0.1:{port}"
    try:
        until(lambda: http.request("GET", f"{url}/ping").status == 204, 20, "influxd answers")
        http.request("POST", f"{url}/query?q=CREATE+DATABASE+pinloop")
        assert http.request("POST", f"{url}/write?db=pinloop&precision=ns", body=small_world()).status == 204
        yield lambda text: asked(http, url, text)
    finally:
        process.end()


def asked(http: urllib3.PoolManager, url: str, text: str) -> list[dict[str, Any]]:
    """Return the series that a query gives."""
    answer = http.request("POST", f"{url}/query", fields={"db": "pinloop", "epoch": "ms", "q": text}).json()
    assert "error" not in answer["results"][0], answer
    return answer["results"][0].get("series", [])


def small_world() -> bytes:
    """Return what the listener makes of a few minutes.

    Two devices online (one of them said so long ago) and one gone; four pins, of which one switched, one is not what it
    is told to be, one is released, and one is never told anything; four services, of which one is away.
    """
    now_ns = time.time_ns()
    assembler, decoder = Assembler(), Decoder("pinloop")
    points: list[Point] = []

    def heard(seconds_ago: float, topic: str, payload: object) -> None:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        for fact in decoder.decode(f"pinloop/{topic}", text.encode()):
            assert not isinstance(fact, Refused)
            points.extend(assembler.points(fact, retained=False, received_ns=now_ns - round(seconds_ago * 1e9)))

    def told(seconds_ago: float, pin: str, value: float, seq: int) -> None:
        command = {"v": value, "seq": seq, "epoch": "k3f9", "ttl": 300, "by": "alert too-bright"}
        heard(seconds_ago, f"{pin}/set", command)

    for device in ("pot", "porch"):
        heard(300, f"{device}/status", "online")
    for device in ("lights", "pot"):
        heard(200, f"{device}/info", {"rssi": -60, "heap": 81234, "uptime_s": 250000})
        heard(100, f"{device}/info", {"rssi": -62, "heap": 80000, "uptime_s": 250100})
    for step in range(10):
        heard(300 - step * 30, "pot/readings", {"pot": step * 10.0, "_n": step, "_b": "k3f9"})
        heard(300 - step * 30, "porch/readings", {"temperature": 20.0 + step, "_n": step, "_b": "aaaa"})
    heard(120, "porch/status", "offline")
    for pin in ("lights/pin/red", "lights/pin/green", "porch/pin/lamp", "porch/pin/fan"):
        heard(300, f"{pin}/state", {"v": 0, "why": "boot"})
    told(30, "lights/pin/red", 1, 5)
    heard(29.75, "lights/pin/red/state", {"v": 1, "seq": 5, "why": "command"})
    told(30, "porch/pin/lamp", 1, 6)  # it is away, and does not follow
    told(60, "lights/pin/green", 1, 7)
    heard(50, "lights/pin/green/set", "")  # released before it followed: what it was told counts no more
    for seconds_ago in range(300, 0, -15):
        points += service_figures(now_ns - seconds_ago * 10**9)
    return lines(points)


def service_figures(at_ns: int) -> list[Point]:
    """Return what the listener makes of the services' real metrics, a little more of everything each time."""
    for outcome in ("new", "duplicate"):
        listener.metrics.READINGS.labels(outcome).inc(30)
    listener.metrics.MESSAGES.inc(30)
    listener.metrics.REJECTED.labels("number").inc()
    listener.metrics.WRITES.labels("stored").inc(15)
    listener.metrics.WRITE_SECONDS.observe(0.004)
    listener.metrics.DEAD_LETTERS.inc()
    listener.metrics.LETTERS_KEPT.set_function(lambda: 3.0)  # some were replayed
    listener.metrics.SPOOL_BEHIND.labels("main").set(4096)
    hub.intake.MESSAGES.inc(30)
    rules.metrics.IGNORED.labels("repeated").inc()
    rules.metrics.POST_SECONDS.observe(0.5)
    rules.metrics.FIRING_NOW.set(2)
    webhook.metrics.ALERTS.labels("grafana", "claimed").inc()
    webhook.metrics.REJECTED.labels("credentials").inc()
    webhook.metrics.PUBLISHED.labels("changed").inc()
    webhook.metrics.PUBACK_S.observe(0.002)
    webhook.metrics.REPORT_S.observe(0.01)
    text = prometheus_client.generate_latest().decode()
    found: list[Point] = []
    for service in ("listener", "rules", "webhook"):
        wanted = re.compile(rf"(# \w+ )?({service}|process)_")  # each shows its own alone
        own = "".join(line for line in text.splitlines(keepends=True) if wanted.match(line))
        found += figures(service, own, at_ns)
    own = "".join(line for line in text.splitlines(keepends=True) if re.match(r"(# \w+ )?hub_messages", line))
    return [*found, *figures("hub", own, at_ns - 10**9), *away("hub", at_ns)]


def rendered(text: str, sensor: str = "pot", device: str = DEVICES) -> str:
    """Return a query with Grafana's variables replaced as Grafana does it."""
    known = {"${sensor:raw}": sensor, "$device": device, "$pin": "(red|green|lamp|fan)", "$__interval": "30s"}
    for name, value in {**known, "$timeFilter": "time >= now() - 30m and time <= now()"}.items():
        text = text.replace(name, value)
    return text


def panel_query(title: str, number: int = 0) -> str:
    """Return a query of the panel with that title."""
    return next(panel for panel in panels() if panel["title"] == title)["targets"][number]["query"]


ASKED = [
    (dashboard["uid"], panel["title"], target["query"])
    for dashboard in DASHBOARDS
    for panel in dashboard["panels"]
    for target in panel.get("targets", [])
]
ASKED += [(one["uid"], f"variable {v['name']}", v["query"]) for one in DASHBOARDS for v in one["templating"]["list"]]
ASKED += [(one["uid"], a["name"], a["target"]["query"]) for one in DASHBOARDS for a in one["annotations"]["list"]]


@pytest.mark.parametrize(("uid", "where", "text"), ASKED, ids=lambda one: one if len(one) < 40 else "")
def test_every_query_is_answered_with_something(influx: Query, uid: str, where: str, text: str) -> None:
    """Panels, variables and annotations; a value in it, not only empty intervals."""
    found = influx(rendered(text))

    assert [row for series in found for row in series["values"] if any(value is not None for value in row[1:])], text


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Devices online", 2),
        ("Devices offline", 1),
        ("Pins on", 1),
        ("Pins not as told", 1),
        ("Pins switched", 5),
        ("Alerts of stream rules", 2),
        ("Switched", 5),
        ("... by the device itself", 4),
        ("Half took less than", 0.25),
        ("Dead letters", 3),
    ],
)
def test_a_number_counts_what_it_says(influx: Query, title: str, expected: float) -> None:
    """The last state of each device or pin counts, once."""
    (series,) = influx(rendered(panel_query(title)))

    assert [row[1] for row in series["values"]] == [expected]


def test_each_service_is_there_or_away(influx: Query) -> None:
    """The last look counts."""
    series = influx(rendered(panel_query("Services")))

    up = {one["tags"]["service"]: one["values"][0][1] for one in series}
    assert up == {"listener": 1, "rules": 1, "webhook": 1, "hub": 0}


@pytest.mark.parametrize(
    ("title", "number", "expected"),
    [("Readings", 0, 2.0), ("How long it takes (mean)", 0, 0.5), ("How long it takes (mean)", 2, 0.01)],
)
def test_rates_and_means_are_those_of_each_interval(influx: Query, title: str, number: int, expected: float) -> None:
    """30 more every 15 s are two a second, however many there were before."""
    target = next(one for one in DASHBOARDS if one["uid"] == "pinloop-itself")
    query = next(panel for panel in target["panels"] if panel["title"] == title)["targets"][number]["query"]
    for series in influx(rendered(query)):
        middle = [row[1] for row in series["values"]][1:-1]
        assert middle
        assert middle == pytest.approx([expected] * len(middle))


def test_the_sensors_to_choose_from_are_those_of_the_chosen_device(influx: Query) -> None:
    """Of another device's sensor there is nothing to draw."""
    (query,) = {
        one["query"] for dashboard in DASHBOARDS for one in dashboard["templating"]["list"] if one["name"] == "sensor"
    }

    assert [row[1] for row in influx(rendered(query, device="pot"))[0]["values"]] == ["pot"]
    assert {row[1] for row in influx(rendered(query))[0]["values"]} == {"pot", "temperature"}


def test_what_switched_is_told_with_who_and_why_and_how_long(influx: Query) -> None:
    """The newest first."""
    panel = next(panel for panel in panels() if panel["title"].startswith("What switched"))
    (series,) = influx(rendered(panel["targets"][0]["query"]))
    newest = dict(zip(series["columns"], series["values"][0], strict=True))
    del newest["time"]

    assert newest == {
        "device": "lights",
        "pin": "red",
        "value": 1,
        "slot": "alert",
        "source": "too-bright",
        "took_s": 0.25,
    }
    assert {row[series["columns"].index("source")] for row in series["values"][1:]} == {"boot"}
    assert set(panel["transformations"][0]["options"]["renameByName"]) <= set(newest)


def test_the_readings_are_one_line_for_each_device(influx: Query) -> None:
    """Of the sensor that the panel repeats for, and of no other."""
    series = influx(rendered(panel_query("$sensor"), sensor="temperature"))

    assert [one["tags"] for one in series] == [{"device": "porch"}]
    assert max(row[1] for row in series[0]["values"] if row[1] is not None) == 29.0


@pytest.mark.parametrize(("number", "alone"), [(0, set()), (1, {"porch/fan"})])
def test_each_pin_has_a_bar_for_what_it_was_told_and_one_for_what_it_reported(
    influx: Query, number: int, alone: set[str]
) -> None:
    """A pin that nobody commands has only the second."""
    series = influx(rendered(panel_query("Pins: desired and reported", number)))

    assert {f"{one['tags']['device']}/{one['tags']['pin']}" for one in series} == {
        *{"lights/red", "lights/green", "porch/lamp"},
        *alone,
    }


def test_the_annotations_have_the_columns_that_they_show(influx: Query) -> None:
    """Text and tags are texts: Grafana splits tags at commas, which a number does not survive."""
    target = DASHBOARDS[0]["annotations"]["list"][0]["target"]
    (series,) = influx(rendered(target["query"]))
    row = dict(zip(series["columns"], series["values"][-1], strict=True))

    assert row[target["textColumn"]] == "too-bright"
    assert [row[tag] for tag in target["tagsColumn"].split(",")] == ["lights", "red", "alert"]

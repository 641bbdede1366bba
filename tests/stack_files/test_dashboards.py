"""The dashboards: the committed JSON is the built one, holds together, and its queries find what the services store."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from grafana.build import files
from listener.assemble import Assembler
from listener.decode import Decoder
from store.lines import lines
from store.points import Point
from tests.support.ports import free_port
from tests.support.processes import start
from tests.support.requirements import need
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
DASHBOARDS = [json.loads(text) for text in files().values()]
Query = Callable[[str], list[dict[str, Any]]]


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

    assert used - {"__interval", "time", "timeFilter", "col", "tag_device", "tag_pin"} <= variables
    assert {panel["repeat"] for panel in dashboard["panels"] if "repeat" in panel} <= variables


def test_the_variable_of_sensors_leaves_out_what_is_no_sensor() -> None:
    """`n` and `boot` identify a sample; a sensor may begin with the same letters."""
    variable = next(one for one in DASHBOARDS[0]["templating"]["list"] if one["name"] == "sensor")
    pattern = re.compile(variable["regex"].strip("/"))

    assert [name for name in ("n", "boot", "noise", "boot_count", "pot") if pattern.search(name)] == [
        "noise",
        "boot_count",
        "pot",
    ]


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
    """Return what the listener makes of a few minutes: two devices online and one gone, three pins, one switch."""
    now_ns = time.time_ns()
    assembler, decoder = Assembler(dedup_window=100), Decoder("pinloop")
    points: list[Point] = []

    def heard(seconds_ago: int, topic: str, payload: object) -> None:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        fact = decoder.decode(f"pinloop/{topic}", text.encode())
        points.extend(assembler.points(fact, retained=False, received_ns=now_ns - seconds_ago * 10**9))

    for device in ("pot", "lights", "porch"):
        heard(300, f"{device}/status", "online")
    for step in range(10):
        heard(300 - step * 30, "pot/readings", {"pot": step * 10.0, "_n": step, "_b": "k3f9"})
        heard(300 - step * 30, "porch/readings", {"temperature": 20.0 + step, "_n": step, "_b": "aaaa"})
    heard(120, "porch/status", "offline")
    for pin in ("red", "green"):
        heard(300, f"lights/pin/{pin}/state", {"v": 0, "why": "boot"})
    heard(300, "porch/pin/lamp/state", {"v": 0, "why": "boot"})
    command = {"v": 1, "seq": 5, "epoch": "k3f9", "ttl": 300, "by": "alert too-bright"}
    heard(30, "lights/pin/red/set", command)
    heard(29, "lights/pin/red/state", {"v": 1, "seq": 5, "why": "command"})
    return lines(points)


def rendered(text: str, sensor: str = "pot") -> str:
    """Return a query with Grafana's variables replaced as Grafana does it."""
    known = {"${sensor:raw}": sensor, "$device": "(lights|porch|pot)", "$__interval": "30s"}
    for name, value in {**known, "$timeFilter": "time >= now() - 30m and time <= now()"}.items():
        text = text.replace(name, value)
    return text


def panel_query(title: str, number: int = 0) -> str:
    """Return a query of the panel with that title."""
    return next(panel for panel in panels() if panel["title"] == title)["targets"][number]["query"]


def test_every_query_is_answered_with_something(influx: Query) -> None:
    """Panels, variables and annotations."""
    texts = [target["query"] for panel in panels() for target in panel.get("targets", [])]
    texts += [one["query"] for dashboard in DASHBOARDS for one in dashboard["templating"]["list"]]
    texts += [one["target"]["query"] for dashboard in DASHBOARDS for one in dashboard["annotations"]["list"]]

    assert [text for text in texts if not influx(rendered(text))] == []


@pytest.mark.parametrize(
    ("title", "expected"),
    [("Devices online", 2), ("Devices offline", 1), ("Pins on", 1), ("Pins switched", 4)],
)
def test_a_number_counts_what_it_says(influx: Query, title: str, expected: int) -> None:
    """The last state of each device or pin counts, once."""
    (series,) = influx(rendered(panel_query(title)))

    assert [row[1] for row in series["values"]] == [expected]


def test_the_readings_are_one_line_for_each_device(influx: Query) -> None:
    """Of the sensor that the panel repeats for, and of no other."""
    series = influx(rendered(panel_query("$sensor"), sensor="temperature"))

    assert [one["tags"] for one in series] == [{"device": "porch"}]
    assert max(row[1] for row in series[0]["values"] if row[1] is not None) == 29.0


@pytest.mark.parametrize(
    ("number", "expected"), [(0, {"lights/red"}), (1, {"lights/red", "lights/green", "porch/lamp"})]
)
def test_each_pin_has_a_bar_for_what_it_was_told_and_one_for_what_it_reported(
    influx: Query, number: int, expected: set[str]
) -> None:
    """A pin that nobody commands has only the second."""
    series = influx(rendered(panel_query("Pins: desired and reported", number)))

    assert {f"{one['tags']['device']}/{one['tags']['pin']}" for one in series} == expected


def test_the_annotations_have_the_columns_that_they_show(influx: Query) -> None:
    """Text and tags are texts: Grafana splits tags at commas, which a number does not survive."""
    target = DASHBOARDS[0]["annotations"]["list"][0]["target"]
    (series,) = influx(rendered(target["query"]))
    row = dict(zip(series["columns"], series["values"][-1], strict=True))

    assert row[target["textColumn"]] == "too-bright"
    assert [row[tag] for tag in target["tagsColumn"].split(",")] == ["lights", "red", "alert"]

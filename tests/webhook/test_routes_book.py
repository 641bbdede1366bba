"""routes.yml in force: followed without a restart, and only while it is good; and `pinloop routes`."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contract.topics import Topics
from pinloop.cli import main
from service.document import DocumentError
from tests.support.broker import Client
from tests.support.wait import until
from webhook.dialects import FIRING, Notification
from webhook.routes_book import RouteBook

ROUTES = 'version: 1\nroutes:\n  - matchers: [\'room="attic"\']\n    targets: ["{device}/%s=1"]\n'
KETTLE = "devices:\n  kettle: {kind: tasmota, topic: kettle, pins: {power: {dead_man: true}}}\n"


def asked(book: RouteBook) -> list[str]:
    return [
        str(one) for one in book.targets_of(Notification("f", 0, FIRING, "n", {"room": "attic", "device": "d"}, {}))[0]
    ]


def test_a_changed_file_is_followed_once_it_stands_still(tmp_path: Path) -> None:
    """A file that is just being written is left alone for a look."""
    path = tmp_path / "routes.yml"
    path.write_text(ROUTES % "fan")
    changes: list[int] = []
    book = RouteBook(path, Topics(), lambda file: changes.append(len(file.devices)))
    path.write_text(ROUTES % "vent" + KETTLE)
    book.look()
    assert asked(book) == ["d/fan=1"]
    book.look()
    assert (asked(book), changes) == (["d/vent=1"], [1])


def test_a_file_with_a_mistake_leaves_the_old_routes_in_force(tmp_path: Path) -> None:
    """And says so until it is mended or gone."""
    path = tmp_path / "routes.yml"
    path.write_text(ROUTES % "fan")
    book = RouteBook(path, Topics())
    path.write_text(ROUTES % "Fan")
    assert not book.reload()
    assert asked(book) == ["d/fan=1"]
    assert "1 mistake(s)" in str(book.problem())
    assert f"{path}:4: route 1: targets: '{{device}}/Fan=1' is not a name" in str(book.problem())
    path.write_text(ROUTES % "vent")
    assert book.reload()
    assert (asked(book), book.problem()) == (["d/vent=1"], None)


def test_a_webhook_does_not_start_with_a_mistake(tmp_path: Path, make_webhook: Callable[..., Any]) -> None:
    """There is nothing older to go on with."""
    path = tmp_path / "routes.yml"
    path.write_text("version: 1\nroute: []\n")
    with pytest.raises(DocumentError, match=r"did you mean routes\?"):
        RouteBook(path, Topics())
    process = make_webhook(routes_path=path).launch()
    assert process.wait(20) == 2
    assert "route: is not a key of the file (did you mean routes?)" in process.text()


def test_routes_and_devices_follow_the_file_while_alerts_come(
    make_webhook: Callable[..., Any], client: Client, tmp_path: Path
) -> None:
    """SIGHUP: a new route, a new device; a mistake changes nothing; a device that goes is made safe first."""
    path = tmp_path / "routes.yml"
    webhook = make_webhook(routes_path=path, reconcile_s=0.5).start()
    answer = webhook.alert("hot", "", room="attic", device="kettle")["results"][0]
    assert (answer["outcome"], answer["targets"]) == ("ignored", [])

    def hang_up(text: str, result: str) -> None:
        before = webhook.metric(f'webhook_routes_reloads_total{{result="{result}"}}')
        path.write_text(text)
        os.kill(webhook.process.pid, signal.SIGHUP)
        until(lambda: webhook.metric(f'webhook_routes_reloads_total{{result="{result}"}}') > before, 5, "a reload")

    sent = client.collect("cmnd/kettle/+")
    hang_up(ROUTES % "power" + KETTLE, "ok")
    until(lambda: webhook.call("GET", "/pins/kettle/power")[0] == 200, 5, "the new device is introduced")
    answer = webhook.alert("hot", "", room="attic", device="kettle")["results"][0]
    assert (answer["targets"], answer["reason"]) == (["kettle/power=1"], "")
    sent.until(lambda m: (m.topic, m.payload) == ("cmnd/kettle/POWER1", b"ON"))

    hang_up("version: 1\nroutes: 5\n", "bad")
    assert "mistake" in json.dumps(webhook.call("GET", "/readyz", user="")[1])
    again = webhook.alert("hot", "", room="attic", device="kettle")["results"][0]
    assert (again["outcome"], again["targets"]) == ("renewed", ["kettle/power=1"])

    hang_up(ROUTES % "power", "ok")
    sent.until(lambda m: (m.topic, m.payload) == ("cmnd/kettle/POWER1", b"OFF"))


def test_pinloop_routes_check_says_what_a_file_holds_or_what_is_wrong(tmp_path: Path) -> None:
    """Exit 1 with every mistake."""
    path = tmp_path / "routes.yml"
    path.write_text(ROUTES % "fan" + KETTLE)
    good = CliRunner().invoke(main, ["routes", "check", "--data-dir", str(tmp_path), "--json"])
    assert (good.exit_code, json.loads(good.output)["devices"]) == (
        0,
        {"kettle": {"kind": "tasmota", "pins": ["power"]}},
    )
    shown = CliRunner().invoke(main, ["routes", "check", str(path)])
    assert "cmnd/kettle/POWER1, cmnd/kettle/PulseTime1" in shown.output
    path.write_text(ROUTES % "Fan" + "x: 1\n")
    bad = CliRunner().invoke(main, ["routes", "check", str(path)])
    assert (bad.exit_code, len(bad.output.splitlines())) == (1, 2)
    assert CliRunner().invoke(main, ["routes", "check", str(tmp_path / "none")]).exit_code == 1


@pytest.mark.parametrize(
    ("labels", "code", "said"),
    [
        (["room=attic", "device=tank"], 0, "tank/fan=1  (slot alert, by route 1)"),
        (["room=attic", "device=tank", "slot=safety"], 0, "(slot safety, by route 1)"),
        (["actuate=a/b=1"], 0, "a/b=1  (slot alert, by its label actuate)"),
        (["room=hall"], 1, "nothing: it has no label actuate, and no route matches it"),
        (["room=attic", "device=../x"], 1, "nothing: routes[1].targets: '../x' is not a device id"),
        (["room=attic"], 1, "needs the label device"),
        (["room"], 1, "'room' has no name or no ="),
        (
            ["alertname=DatasourceNoData", "room=attic", "device=tank"],
            1,
            "nothing: DatasourceNoData is not a condition",
        ),
        (["alertname=TestAlert", "actuate=a/b=1"], 1, "nothing: TestAlert is not a condition"),
    ],
)
def test_pinloop_routes_try_says_what_an_alert_would_get(
    tmp_path: Path, labels: list[str], code: int, said: str
) -> None:
    """Without sending anything."""
    (tmp_path / "routes.yml").write_text(ROUTES % "fan")
    found = CliRunner().invoke(main, ["routes", "try", "--data-dir", str(tmp_path), *labels])
    assert (found.exit_code, said in found.output) == (code, True), found.output


def test_pinloop_routes_try_says_of_every_route_why_it_did_not_match(tmp_path: Path) -> None:
    """By each matcher that does not hold, with what the alert has instead."""
    path = tmp_path / "routes.yml"
    path.write_text(
        "version: 1\nroutes:\n"
        "  - matchers: ['severity=\"critical\"', 'room=~\"hall|attic\"']\n    targets: [a/b=1]\n"
        "  - matchers: ['alertname!=\"Test\"']\n    targets: [a/b=0]\n"
    )
    tried = ["routes", "try", "--file", str(path), "alertname=Test", "severity=warning"]

    found = CliRunner().invoke(main, tried)
    told = json.loads(CliRunner().invoke(main, [*tried, "--json"]).output)

    assert found.exit_code == 1
    assert found.output.splitlines()[1:] == [
        'route 1: severity="critical", but severity is "warning"; room=~"hall|attic", but room is not there',
        'route 2: alertname!="Test", but alertname is "Test"',
    ]
    assert [one["number"] for one in told["missed"]] == [1, 2]


def test_pinloop_routes_try_says_that_a_file_without_routes_has_none(tmp_path: Path) -> None:
    """The shipped file is such a one: nobody looks for a mistake in matchers that are not there."""
    found = CliRunner().invoke(main, ["routes", "try", "--file", "webhook/routes.yml", "alertname=x"])
    assert (found.exit_code, "webhook/routes.yml has no routes" in found.output) == (1, True), found.output

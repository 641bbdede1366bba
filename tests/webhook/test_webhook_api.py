"""The webhook's HTTP API, asked of a process."""

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import Client
from tests.support.wait import until

PAYLOADS = Path(__file__).parent / "payloads"
INFO = json.dumps({"fw": "test", "pins": {"red": {"safe": 0, "min": 0, "max": 1}, "green": {"safe": 0}}})


@pytest.fixture
def lights(webhook: Any, client: Client) -> str:
    """A device that said what it is."""
    client.publish("pinloop/lights/status", "online", retain=True)
    client.publish("pinloop/lights/info", INFO, retain=True)
    until(lambda: webhook.call("GET", "/pins/lights/red")[0] == 200)
    return "lights"


def test_an_alert_becomes_a_retained_leased_command(webhook: Any, client: Client) -> None:
    """The whole of POST /alert, and every question that can be asked afterwards."""
    commands = client.collect("pinloop/+/pin/+/set")
    status, answer = webhook.call("POST", "/alert", (PAYLOADS / "grafana_mixed_group.json").read_bytes(), "alerts")
    assert status == 200
    assert [(one["outcome"], one["targets"]) for one in answer["results"]] == [
        ("claimed", ["greenhouse-1/fan=1"]),
        ("claimed", ["greenhouse-2/fan=1"]),
        ("withdrawn", ["attic-1/fan=1", "attic-1/vent=40"]),
    ]
    assert answer["published"] == 2
    sent = json.loads(commands.until(lambda m: m.topic == "pinloop/greenhouse-1/pin/fan/set").payload)
    assert (sent["v"], sent["ttl"], sent["by"]) == (1, 300, "alert Too warm")
    retained = Client.collect(client, "pinloop/greenhouse-1/#").until(lambda m: m.retain)
    assert json.loads(retained.payload) == sent

    assert {one["device"] for one in webhook.call("GET", "/claims")[1]["claims"]} == {"greenhouse-1", "greenhouse-2"}
    assert [one["status"] for one in webhook.call("GET", "/alerts")[1]["alerts"]] == ["firing", "firing", "resolved"]
    pin = next(one for one in webhook.call("GET", "/pins")[1]["pins"] if one["device"] == "greenhouse-1")
    assert (pin["desired"]["value"], pin["command"]["seq"], pin["reported"]) == (1, sent["seq"], None)
    until(lambda: webhook.pin("greenhouse-1", "fan")["command"]["acked_at_s"], 2, "the PUBACK is recorded")


def test_why_answers_with_claim_change_and_report(webhook: Any, client: Client, lights: str) -> None:
    """In one sentence and with the last changes."""
    webhook.alert("too-bright", "lights/red=1")
    seq = webhook.pin("lights", "red")["command"]["seq"]
    client.publish("pinloop/lights/pin/red/state", json.dumps({"v": 1, "seq": seq, "why": "command"}), retain=True)
    why = until(lambda: _reported(webhook.call("GET", "/pins/lights/red/why")[1]), 3, "the report is recorded")
    assert why["text"].startswith("on for 0 s: alert too-bright (slot alert) asks for 1 until ")
    assert why["text"].endswith(" ms after the command")
    assert [claim["source"] for claim in why["claims"]] == ["too-bright"]
    assert why["changes"][0]["reason"] == "too-bright: claimed"
    assert webhook.metric("webhook_report_seconds_count") == 1


def _reported(why: dict[str, Any]) -> dict[str, Any] | None:
    return why if why["changes"] and why["changes"][0]["reported_at_s"] else None


def test_a_person_sets_a_pin_for_a_time_and_lets_it_go(webhook: Any, client: Client, lights: str) -> None:
    """Manual beats alert, and ends by DELETE or by itself."""
    webhook.alert("too-bright", "lights/red=0")
    status, pin = webhook.call("PUT", "/pins/lights/red", {"value": 1, "for": "1h30m", "by": "ana"})
    assert status == 200
    assert (pin["desired"]["value"], pin["desired"]["slot"], pin["desired"]["source"]) == (1, "manual", "ana")
    assert round(pin["desired"]["until_s"] - pin["desired"]["since_s"]) == 5400
    status, pin = webhook.call("DELETE", "/pins/lights/red")
    assert (status, pin["desired"]["slot"]) == (200, "alert")
    reasons = [one["reason"] for one in webhook.call("GET", "/changes?pin=lights/red")[1]["changes"]]
    assert reasons[1:] == ["set by ana", "manual claim withdrawn by operator"]
    assert webhook.call("PUT", "/pins/lights/red", {"value": 1, "for": "1s"})[0] == 200
    until(lambda: webhook.pin("lights", "red")["desired"]["slot"] == "alert", 3, "the manual claim ended")


def test_an_emergency_stop_ends_only_when_somebody_says_so(webhook: Any, lights: str) -> None:
    """Not because somebody else presses "on", or a program repeats its claim: that would be an end that nobody saw."""
    stop = {"value": 0, "slot": "safety", "by": "ana", "for": "1h"}
    assert webhook.call("PUT", "/pins/lights/red", stop)[0] == 200
    status, problem = webhook.call("PUT", "/pins/lights/red", {"value": 1, "by": "bob"})
    assert (status, problem["reason"]) == (409, "safety")
    assert "ana holds the pin by slot safety until" in problem["detail"]
    assert webhook.pin("lights", "red")["desired"]["value"] == 0
    assert webhook.call("PUT", "/pins/lights/red", {**stop, "by": "bob"})[0] == 200  # one stop after another
    assert webhook.call("DELETE", "/pins/lights/red?by=bob")[0] == 200
    assert webhook.call("PUT", "/pins/lights/red", {"value": 1})[1]["desired"]["value"] == 1
    assert webhook.call("PUT", "/pins/lights/red", {**stop, "for": "1s"})[0] == 200
    until(lambda: webhook.call("PUT", "/pins/lights/red", {"value": 1})[0] == 200, 3, "the stop is over")


def test_a_manual_claim_with_a_mistake_is_answered_400(webhook: Any, lights: str) -> None:
    """The error names the key, the value and the rule."""
    for body, named in (({"value": 2}, "value: 2 is beyond the pin's max, 1"), (b"{", "body")):
        status, answer = webhook.call("PUT", "/pins/lights/red", body)
        assert (status, named in answer["detail"]) == (400, True), answer


def test_pins_that_nobody_knows_are_404(webhook: Any, lights: str) -> None:
    """A wrong device, a wrong pin (with those that exist), and a name outside the grammar."""
    until(lambda: webhook.call("GET", "/pins/nobody/red")[0] == 404, 3, "the broker has been heard")
    for path, named in (("lihgts/red", "lihgts"), ("lights/rde", "green, red"), ("Lights/red", "device id")):
        status, answer = webhook.call("PUT", f"/pins/{path}", {"value": 1})
        assert (status, named in answer["detail"]) == (404, True), answer


_ACCESS = [
    ("POST", "/alert", "", "", 401),
    ("POST", "/alert", "alerts", "wrong", 401),
    ("POST", "/alert", "nobody", "x", 401),
    ("POST", "/alert", "operator", "", 403),
    ("GET", "/pins", "alerts", "", 403),
    ("PUT", "/pins/a/b", "", "", 401),
    ("GET", "/nothing", "", "", 401),
    ("GET", "/nothing", "operator", "", 404),
    ("GET", "/alert", "alerts", "", 405),
]


def test_who_may_ask_for_what(webhook: Any) -> None:
    """Every path needs the right user, also those that do not exist; health and metrics need none."""
    for method, path, user, password, status in _ACCESS:
        answered, answer = webhook.call(method, path, b"{}", user, password)
        assert (answered, bool(answer["detail"])) == (status, True), (method, path, user)
    assert webhook.call("GET", "/healthz", user="")[0] == 200


def test_a_body_that_is_no_alert_is_refused(make_webhook: Callable[..., Any]) -> None:
    """400 or 413 as JSON, counted by reason."""
    webhook = make_webhook(body_max_bytes=2048).start()
    bodies = [(b"", 400), (b"{", 400), (b"{}", 400), (b"\xff\xfe", 400), (b" " * 2048 + b"{}", 413)]
    for body, status in bodies:
        answered, answer = webhook.call("POST", "/alert", body, "alerts")
        assert (answered, "body" in answer["detail"]) == (status, True)
    for reason, count in (("json", 3), ("dialect", 1), ("size", 1)):
        assert webhook.metric(f'webhook_rejected_total{{reason="{reason}"}}') == count


def test_bodies_that_are_understood_and_ignored_are_answered_200(webhook: Any, client: Client) -> None:
    """No data, a failing data source and the Test button never switch anything."""
    for name in ("grafana_nodata", "grafana_datasource_error", "grafana_test_notification"):
        status, answer = webhook.call("POST", "/alert", (PAYLOADS / f"{name}.json").read_bytes(), "alerts")
        assert (status, answer["results"][0]["outcome"], answer["published"]) == (200, "ignored", 0)
    assert webhook.call("GET", "/claims")[1]["claims"] == []
    assert webhook.metric('webhook_alerts_total{dialect="grafana",outcome="ignored"}') == 3


def test_a_legacy_body_drives_the_pins_of_the_setting(make_webhook: Callable[..., Any], client: Client) -> None:
    """The original prototype's contract: alerting, ok, and nothing else."""
    webhook = make_webhook(legacy_actuate="lights/red=1,lights/green=0").start()
    commands = client.collect("pinloop/lights/pin/red/set")
    for state in ("alerting", "ok", "pending"):
        assert webhook.call("POST", "/alert", {"state": state, "ruleName": "x"}, "alerts")[0] == 200
    assert commands.until(lambda m: m.payload == b"")
    assert [bool(m.payload) for m in commands] == [True, False]


def test_requests_keep_to_one_broker_connection(webhook: Any) -> None:
    """It never connects per request."""
    for episode in range(20):
        webhook.alert("a", "lights/red=1", episode=episode)
    assert webhook.metric("mqtt_connects_total") == 1


def test_a_name_with_foreign_letters_makes_a_command_that_devices_accept(webhook: Any, client: Client) -> None:
    """`by` holds no control characters and the payload keeps to the contract's size."""
    commands = client.collect("pinloop/lights/pin/red/set")
    webhook.alert("\U0001f525\n" * 60, "lights/red=1")
    payload = commands.until(lambda m: m.payload).payload
    assert len(payload) <= 512
    assert "\n" not in json.loads(payload)["by"]


def test_a_client_that_sends_half_a_request_blocks_nobody(webhook: Any) -> None:
    """Alerts go through beside it."""
    slow = [http.client.HTTPConnection("127.0.0.1", webhook.port) for _ in range(20)]
    for connection in slow:
        connection.putrequest("POST", "/alert")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"{")
    assert webhook.alert("a", "lights/red=1")["published"] == 1
    for connection in slow:
        connection.close()

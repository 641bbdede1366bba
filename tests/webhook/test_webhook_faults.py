"""The webhook, the broker and the devices when something dies: real processes, real kills."""

import json
from collections.abc import Callable
from typing import Any

from tests.support.broker import Broker, Client, Seen
from tests.support.wait import until

PINS = {"red": {"safe": 0, "default": 0}, "green": {"safe": 0, "default": 1}}


def describe(client: Client, device: str = "lights", **fields: object) -> None:
    """Publish what a device publishes when it connects."""
    client.publish(f"pinloop/{device}/status", "online", retain=True)
    client.publish(f"pinloop/{device}/info", json.dumps({"fw": "t", "pins": PINS, **fields}), retain=True)


def report(client: Client, value: float, seq: int, why: str = "command", pin: str = "red") -> None:
    state = json.dumps({"v": value, "seq": seq, "why": why})
    client.publish(f"pinloop/lights/pin/{pin}/state", state, retain=True)


def last(seen: Seen) -> Any:
    """Return the last command on a topic, None when the pin is released."""
    return json.loads(seen[-1].payload) if seen and seen[-1].payload else None


def test_claims_and_commands_survive_a_kill_and_seq_grows(webhook: Any, client: Client) -> None:
    """After kill -9 the same claims stand, and the next command has a greater seq of the same epoch."""
    commands = client.collect("pinloop/lights/pin/red/set")
    webhook.alert("a", "lights/red=1")
    before = json.loads(commands.until(lambda m: m.payload).payload)
    webhook.kill()
    webhook.start()
    assert webhook.pin("lights", "red")["desired"]["source"] == "a"
    webhook.alert("b", "lights/red=5")
    after = json.loads(commands.until(lambda m: m.payload and json.loads(m.payload)["v"] == 5).payload)
    assert after["epoch"] == before["epoch"]
    assert after["seq"] > before["seq"]


def test_a_change_that_was_committed_and_not_sent_is_sent_after_a_restart(
    webhook: Any, client: Client, broker: Broker
) -> None:
    """The broker was away, then the webhook died: the database knows what must stand."""
    commands = client.collect("pinloop/+/pin/+/set")
    webhook.alert("a", "lights/red=1,lights/green=1")
    commands.until(lambda m: m.topic.endswith("green/set"))
    broker.stop()
    until(lambda: webhook.call("GET", "/readyz")[0] == 503, 5, "the webhook notices")
    answer = webhook.alert("a", "lights/red=1,lights/green=1", "resolved")
    assert (answer["published"], "stored" in answer["note"]) == (0, True)
    webhook.kill()
    broker.start()
    until(client.client.is_connected, 5, "the client is back")
    webhook.start()
    for pin in PINS:
        commands.until(lambda m, pin=pin: m.topic.endswith(f"{pin}/set") and not m.payload)


def test_a_broker_that_lost_everything_gets_every_command_back(webhook: Any, broker: Broker) -> None:
    """SIGKILL, persistence wiped, restart: all retained commands are there within seconds."""
    names = [f"p{number}" for number in range(40)]
    webhook.alert("a", ",".join(f"lights/{name}=1" for name in names))
    broker.kill()
    broker.forget()
    answer = webhook.alert("b", "lights/late=1")
    assert answer["results"][0]["outcome"] == "claimed"
    broker.start()
    wanted = {f"pinloop/lights/pin/{name}/set" for name in [*names, "late"]}

    def all_back() -> bool:
        with Client(broker) as fresh:
            seen = fresh.collect("pinloop/+/pin/+/set")
            fresh.publish("probe/end", b"")
            return {message.topic for message in seen if message.retain and message.payload} == wanted

    until(all_back, 10, "every retained command", every_s=0.05)
    assert webhook.call("GET", "/readyz")[0] == 200


def test_a_retained_command_that_somebody_cleared_or_changed_comes_back(webhook: Any, client: Client) -> None:
    """The webhook reads its own topics back."""
    commands = client.collect("pinloop/lights/pin/red/set")
    webhook.alert("a", "lights/red=1")
    commands.until(lambda m: m.payload)
    for foreign in (b"", b"0", b'{"v":0,"seq":9007199254740000,"epoch":"x"}'):
        client.publish("pinloop/lights/pin/red/set", foreign, retain=True)
        until(lambda: (last(commands) or {}).get("by") == "alert a", 5, f"the command after {foreign!r}")
    assert webhook.metric('webhook_commands_published_total{reason="reconciled"}') >= 3


def test_a_command_that_nobody_claims_is_cleared(make_webhook: Callable[..., Any], client: Client) -> None:
    """Left by a database that is gone: no pin may follow it."""
    client.publish("pinloop/lights/pin/red/set", b'{"v":1,"seq":5,"epoch":"gone"}', retain=True)
    commands = client.collect("pinloop/lights/pin/red/set")
    make_webhook().start()
    commands.until(lambda m: not m.payload)


def test_a_claim_that_is_not_renewed_expires_and_releases_the_pin(
    make_webhook: Callable[..., Any], client: Client
) -> None:
    """A lost "resolved" cannot leave a pump on; a repetition in time keeps it."""
    webhook = make_webhook(claim_ttl_s=1.5).start()
    commands = client.collect("pinloop/lights/pin/red/set")
    webhook.alert("a", "lights/red=1")
    first_until_s = webhook.pin("lights", "red")["desired"]["until_s"]
    until(lambda: webhook.alert("a", "lights/red=1")["results"][0]["outcome"] == "renewed")
    assert webhook.pin("lights", "red")["desired"]["until_s"] > first_until_s
    commands.until(lambda m: not m.payload)
    assert webhook.pin("lights", "red")["desired"] is None
    assert webhook.call("GET", "/alerts")[1]["alerts"][0]["outcome"] == "expired"


def test_leases_are_renewed_with_a_greater_seq(make_webhook: Callable[..., Any], client: Client) -> None:
    """At a third of the ttl, with the same value."""
    make_webhook(ttl_s=1).start().alert("a", "lights/red=1")
    commands = client.collect("pinloop/lights/pin/red/set")
    commands.until(lambda _: len(commands) >= 4)
    seqs = [json.loads(message.payload)["seq"] for message in commands]
    assert seqs == sorted(set(seqs))
    assert {json.loads(message.payload)["v"] for message in commands} == {1}
    assert not commands[-1].retain  # a live one: the age of a retained command is unknown to a device


def test_an_info_gets_the_commands_anew_and_releases_what_nobody_claims(webhook: Any, client: Client) -> None:
    """A device that restarted waits for a live command; its other pins go back to their default."""
    webhook.alert("a", "lights/red=1")
    red = client.collect("pinloop/lights/pin/red/set")
    green = client.collect("pinloop/lights/pin/green/set")
    before = red.until(lambda m: m.retain)
    report(client, 1, 3, pin="green")
    describe(client)
    live = red.until(lambda m: not m.retain)
    assert json.loads(live.payload)["seq"] > json.loads(before.payload)["seq"]
    green.until(lambda m: not m.payload)


def test_an_info_causes_one_command_per_pin_however_often_it_comes(webhook: Any, client: Client) -> None:
    """No circle and no storm: a burst of infos is answered at most once a second."""
    webhook.alert("a", "lights/red=1")
    report(client, 1, webhook.pin("lights", "red")["command"]["seq"])
    commands = client.collect("pinloop/lights/pin/red/set")
    commands.until(lambda m: m.retain)
    for _ in range(30):
        describe(client)
    commands.until(lambda m: not m.retain)
    report(client, 1, webhook.pin("lights", "red")["command"]["seq"])
    assert len(commands) <= 4


def test_pins_at_rest_are_left_alone(webhook: Any, client: Client) -> None:
    """A device that booted without a command needs no release."""
    greens = client.collect("pinloop/lights/pin/green/set")
    for pin, declared in PINS.items():
        report(client, declared.get("default", declared.get("safe", 0)), 0, "boot", pin)
    describe(client)
    webhook.alert("a", "lights/red=1")  # a mark: what the info caused would have come before this
    client.collect("pinloop/lights/pin/red/set").until(lambda m: m.payload)
    assert list(greens) == []


def test_a_pin_without_a_claim_is_brought_to_its_default(webhook: Any, client: Client) -> None:
    """It booted on and nobody wants it on: released, which its device answers with the default."""
    greens = client.collect("pinloop/lights/pin/green/set")
    report(client, 0, 0, "boot", "green")  # its default is 1
    describe(client)
    greens.until(lambda message: message.payload == b"" and not message.retain)


def test_a_device_that_does_not_report_is_asked_again_and_counts_as_drift(
    make_webhook: Callable[..., Any], client: Client
) -> None:
    """Desired differing from reported is shown, measured, and repaired when it can be."""
    webhook = make_webhook(reconcile_s=0.3, drift_s=0.3).start()
    describe(client)
    report(client, 0, 0, "boot")
    commands = client.collect("pinloop/lights/pin/red/set")
    webhook.alert("a", "lights/red=1")
    commands.until(lambda _: len(commands) >= 3)
    until(lambda: webhook.metric("webhook_drift_pins") == 1, 5, "the gauge")
    assert webhook.pin("lights", "red")["drift_s"] > 0.3
    report(client, 1, last(commands)["seq"])
    until(lambda: webhook.metric("webhook_drift_pins") == 0, 5, "the gauge goes back")
    assert webhook.pin("lights", "red")["drift_s"] is None


def test_an_unknown_end_commands_the_safe_value_of_the_device(webhook: Any, client: Client) -> None:
    """Also when the device says only later what is safe."""
    commands = client.collect("pinloop/lights/pin/red/set")
    webhook.alert("a", "lights/red=1")
    one = {
        "status": "resolved",
        "labels": {"alertname": "a", "actuate": "lights/red=1"},
        "annotations": {"grafana_state_reason": "NoData"},
        "startsAt": "2026-01-01T00:00:00Z",
        "fingerprint": "a-lights/red=1",
    }
    answer = webhook.call("POST", "/alert", {"version": "4", "alerts": [one]}, "alerts")[1]
    assert answer["results"][0] == {
        "fingerprint": "a-lights/red=1", "outcome": "unknown", "targets": ["lights/red=1"], "reason": "NoData",
    }  # fmt: skip
    commands.until(lambda m: not m.payload)
    describe(client)
    safe = json.loads(commands.until(lambda m: b'"v":0' in m.payload).payload)
    assert safe["by"] == "unknown a"


def test_messages_of_devices_outside_the_contract_are_counted_and_harmless(webhook: Any, client: Client) -> None:
    """Nothing that a device publishes stops the webhook."""
    for topic, payload in [
        ("lights/info", b"{"),
        ("lights/info", b'{"pins":{"BAD":{}}}'),
        ("lights/status", b"maybe"),
        ("lights/pin/red/state", b"1"),
        ("Lights/pin/red/state", b"{}"),
    ]:
        client.publish(f"pinloop/{topic}", payload)
    until(lambda: webhook.metric('webhook_refused_messages_total{reason="shape"}') == 1)
    assert webhook.alert("a", "lights/red=1")["published"] == 1


def test_settings_that_cannot_be_used_are_one_clear_line(make_webhook: Callable[..., Any]) -> None:
    """And no trace: exit 2 for a setting, 1 for what is in its way."""
    cases = [({"alert_password": ""}, 2, "openssl rand"), ({"claims_path": "/proc/claims.db"}, 1, "--claims-path")]
    for flags, code, line in cases:
        process = make_webhook(**flags).launch()
        assert process.wait(10) == code
        assert line in process.text()
        assert len(process.text().splitlines()) == 1


def test_a_second_webhook_on_the_same_database_refuses_to_start(webhook: Any) -> None:
    """One clear line; the first goes on."""
    second = webhook.launch()
    assert second.wait(10) == 1
    assert "another webhook is using" in second.text()
    assert webhook.alert("a", "lights/red=1")["published"] == 1


def test_it_stops_cleanly_on_sigterm(webhook: Any) -> None:
    """Exit 0, and what was acknowledged is there afterwards."""
    webhook.alert("a", "lights/red=1")
    webhook.process.terminate()
    assert webhook.process.wait(10) == 0
    webhook.start()
    assert webhook.pin("lights", "red")["desired"]["value"] == 1

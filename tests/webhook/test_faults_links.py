"""The webhook when its broker is away or silent, its disk is full, or its sender is two: a real process."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import Broker, Client
from tests.support.link import Link, link_to
from tests.support.wait import until
from tests.webhook.grafana import Alerting

SET = "pinloop/lights/pin/red/set"
KEEPALIVE_S = 1


@pytest.fixture
def link(broker: Broker) -> Iterator[Link]:
    with link_to(broker.port) as running:
        yield running


def test_while_the_broker_is_away_senders_are_answered_and_only_the_newest_wish_is_sent(
    webhook: Any, client: Client, broker: Broker, record_property: Callable[[str, object], None]
) -> None:
    """Twenty changes of mind reach the device as one command."""
    commands = client.collect(SET)
    webhook.alert("first", "lights/red=1")
    commands.until(lambda m: m.payload)
    broker.stop()
    until(lambda: webhook.call("GET", "/readyz")[0] == 503, 5, "the webhook notices")
    slowest_s = 0.0
    for episode in range(1, 11):
        for status in ("resolved", "firing"):
            began_s = time.monotonic()
            webhook.alert("first", f"lights/red={episode}", status, episode - (status == "resolved"))
            slowest_s = max(slowest_s, time.monotonic() - began_s)
    count = len(commands)
    broker.start()
    commands.until(lambda m: m.payload and json.loads(m.payload)["v"] == 10)
    values = {json.loads(message.payload)["v"] if message.payload else None for message in commands[count:]}
    assert values <= {1, 10}  # 1: what the broker had kept
    assert slowest_s < 1
    record_property("seen", f"20 posts answered 200 within {slowest_s * 1000:.0f} ms, then one value sent")


def test_a_broker_that_falls_silent_is_noticed_and_holds_up_no_sender(
    make_webhook: Callable[..., Any], client: Client, link: Link, record_property: Callable[[str, object], None]
) -> None:
    """Half-open: TCP stands, no byte comes through. What was decided meanwhile is sent when there is a way again."""
    webhook = make_webhook(mqtt_port=link.port, mqtt_keepalive_s=KEEPALIVE_S).start()
    commands = client.collect(SET)
    link.stall()
    silent_s = time.monotonic()
    answer = webhook.alert("a", "lights/red=1")
    answered_s = time.monotonic() - silent_s
    assert answer["published"] == 0
    until(lambda: webhook.call("GET", "/readyz")[0] == 503, 10, "the webhook notices")
    noticed_s = time.monotonic() - silent_s
    webhook.alert("a", "lights/red=1", "resolved")
    webhook.alert("b", "lights/red=7")
    count = len(commands)
    link.cut()
    link.flow()
    commands.until(lambda m: b'"by":"alert b"' in m.payload)
    until(lambda: webhook.call("GET", "/readyz")[0] == 200, 10, "it is connected again")
    assert answered_s < 3  # 2 s for the PUBACK that does not come
    assert noticed_s < 2 * KEEPALIVE_S + 2  # a ping goes out after one, and is waited for as long
    assert {json.loads(message.payload)["v"] for message in commands[count:] if message.payload} == {7}
    record_property(
        "seen", f"sender answered after {answered_s:.1f} s, noticed after {noticed_s:.1f} s (keepalive {KEEPALIVE_S} s)"
    )


def test_two_grafanas_of_a_pair_make_one_command(
    webhook: Any, client: Client, record_property: Callable[[str, object], None]
) -> None:
    """Both post each word of the same alerts at once, in any order; duplicates are counted."""
    commands = client.collect("pinloop/+/pin/+/set")
    grafana = Alerting()
    for number in range(10):
        grafana.fire(f"hot-{number}", f"lights/p{number}=1", time.time() - 60)
    firing = [grafana.post(one) for one in grafana.alerts.values()]
    resolved = [grafana.post(one, "resolved") for one in grafana.alerts.values()]
    statuses: list[int] = []

    def replica(bodies: list[bytes]) -> None:
        for body in random.sample(bodies, len(bodies)):
            statuses.append(webhook.call("POST", "/alert", body, "alerts")[0])

    for bodies in (firing, resolved):
        threads = [threading.Thread(target=replica, args=(bodies,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert statuses == [200] * 40
    client.publish("pinloop/mark/pin/end/set", b"0")
    commands.until(lambda m: m.topic.endswith("end/set"))
    for number in range(10):
        mine = [message.payload for message in commands if message.topic == f"pinloop/lights/pin/p{number}/set"]
        assert [bool(payload) for payload in mine] == [True, False]
    outcomes = {name: webhook.metric(f'webhook_alerts_total{{dialect="grafana",outcome="{name}"}}') for name in (
        "claimed", "renewed", "withdrawn", "duplicate",
    )}  # fmt: skip
    assert outcomes == {"claimed": 10, "renewed": 10, "withdrawn": 10, "duplicate": 10}
    record_property("seen", "40 posts: 10 pins on and off once each, 20 duplicates counted")


def test_a_full_disk_is_503_and_switches_nothing_until_there_is_room(
    make_webhook: Callable[..., Any], client: Client, small_disk: Path, record_property: Callable[[str, object], None]
) -> None:
    """Without a restart; what was claimed before stands, is read, and is still there afterwards."""
    webhook = make_webhook(claims_path=small_disk / "claims.db", reconcile_s=0.5).start()
    commands = client.collect("pinloop/+/pin/+/set")
    webhook.alert("before", "lights/red=1")
    commands.until(lambda m: m.payload)
    filler = small_disk / "else"
    with filler.open("wb", buffering=0) as file:
        room = True
        while room:
            try:
                room = file.write(bytes(4096)) == 4096
            except OSError:
                room = False

    def post(number: int) -> Any:
        one = {
            "status": "firing",
            "labels": {"alertname": f"a{number}", "actuate": f"lights/p{number}=1", "long": "x" * 2000},
            "annotations": {},
            "startsAt": "2026-01-01T00:00:00Z",
            "fingerprint": f"f{number}",
        }
        return webhook.call("POST", "/alert", {"version": "4", "alerts": [one]}, "alerts")

    # The write-ahead log has room of its own for some; the first that does not fit is refused.
    refused = next(number for number in range(2000) if post(number)[0] == 503)
    assert webhook.pin("lights", "red")["desired"]["source"] == "before"
    assert webhook.call("GET", "/claims")[0] == 200
    status, problem = post(refused)
    assert (status, problem["reason"]) == (503, "database"), problem
    filler.unlink()
    until(lambda: post(refused)[0] == 200, 5, "it is taken in when there is room")
    commands.until(lambda m: m.topic == f"pinloop/lights/pin/p{refused}/set" and m.payload)
    assert webhook.call("GET", "/readyz")[0] == 200
    record_property("seen", "503 for what did not fit, reads answered; 200 as soon as there was room")

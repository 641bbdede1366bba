"""The webhook's figures move when they should."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tests.webhook.world import World, simulated
from webhook.active import active_alerts


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with simulated() as clock:
        pins: dict[str, dict[str, dict[str, Any]]] = {"lights": {"red": {}}, "pump": {"main": {"min_on_s": 20}}}
        opened = World(clock, tmp_path, pins, {}, lambda: None, lambda *_: None, lambda: None)
        opened.start()
        opened.advance(3)
        yield opened
        opened.kill()


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


class Moved:
    """How much a figure has grown since this was made."""

    def __init__(self, name: str, **labels: str) -> None:
        self._name, self._labels, self._before = name, labels, figure(name, **labels)

    def by(self) -> float:
        return figure(self._name, **self._labels) - self._before


def notify(world: World, pin: str, status: str = "firing", truncated: int = 0) -> None:
    alert = {
        "status": status,
        "labels": {"alertname": pin, "actuate": f"{pin}=1"},
        "startsAt": "2026-11-21T03:10:20Z",
        "fingerprint": pin,
    }
    assert world.webhook is not None
    world.webhook.alerts.receive(json.dumps({"version": "1", "alerts": [alert], "truncatedAlerts": truncated}).encode())


def test_an_alert_is_counted_from_its_body_to_the_devices_report(world: World) -> None:
    """By dialect and outcome, as a claim, a command, a PUBACK and a report; its end as a release."""
    claimed = Moved("webhook_alerts_total", dialect="grafana", outcome="claimed")
    truncated = Moved("webhook_truncated_alerts_total")
    new, released = (Moved("webhook_commands_published_total", reason=reason) for reason in ("new", "released"))
    acked, reported = Moved("webhook_puback_seconds_count"), Moved("webhook_report_seconds_count")
    notify(world, "lights/red", truncated=2)
    world.advance(8)
    assert (claimed.by(), truncated.by(), new.by(), acked.by(), reported.by()) == (1, 2, 1, 1, 1)
    assert (figure("webhook_claims", slot="alert"), figure("webhook_claims", slot="manual")) == (1, 0)
    notify(world, "lights/red", "resolved")
    world.advance(8)
    assert (released.by(), figure("webhook_claims", slot="alert")) == (1, 0)


def test_commands_that_say_nothing_new_are_counted_by_their_reason(world: World) -> None:
    """Renewed before their lease ends, sent again to a broker that forgot, waiting for one that is away."""
    renewed, reconciled = (Moved("webhook_commands_published_total", reason=one) for one in ("renewed", "reconciled"))
    unsent = Moved("webhook_commands_unsent_total")
    notify(world, "lights/red")
    world.advance(40)
    assert renewed.by() >= 2
    world.stop_broker(forgets=True)
    notify(world, "pump/main")
    assert unsent.by() == 1
    world.advance(3)
    world.broker.up = True
    before = reconciled.by()
    world.advance(8)
    assert reconciled.by() >= before + 2


def test_a_guard_that_holds_is_counted_and_shown_while_it_does(world: World) -> None:
    """Once for the wish, and the pin for as long as it waits."""
    held = Moved("webhook_guard_holds_total", guard="min_on_s")
    notify(world, "pump/main")
    world.advance(3)
    notify(world, "pump/main", "resolved")
    world.advance(8)
    assert (held.by(), figure("webhook_held_pins", guard="min_on_s")) == (1, 1)
    world.advance(20)
    assert (held.by(), figure("webhook_held_pins", guard="min_on_s")) == (1, 0)


def test_a_pin_that_does_not_follow_is_drift_until_it_does(world: World) -> None:
    """Its device has lost its link."""
    world.devices["lights"].wanted_link = False
    world.devices["lights"].hang_up()
    notify(world, "lights/red")
    world.advance(20)
    assert figure("webhook_drift_pins") == 1
    world.devices["lights"].wanted_link = True
    world.advance(10)
    assert figure("webhook_drift_pins") == 0


def test_what_devices_say_outside_the_contract_is_counted_by_reason(world: World) -> None:
    """One for each reason."""
    refused = {reason: Moved("webhook_refused_messages_total", reason=reason) for reason in ("json", "status", "why")}
    assert world.webhook is not None
    said = {"pin/red/state": b"{", "status": b"well", "pin/green/state": b'{"v":1,"why":"magic"}'}
    for topic, payload in said.items():
        message: Any = SimpleNamespace(topic=f"pinloop/lights/{topic}", payload=payload, retain=False)
        world.webhook.observed.message(message)
    assert [one.by() for one in refused.values()] == [1, 1, 1]


def test_what_a_list_of_active_alerts_does_is_counted(world: World) -> None:
    """Asserted, and ended when it is gone from two lists."""
    asserted, ended = (Moved("webhook_read_back_total", source="grafana", what=what) for what in ("asserted", "ended"))
    listed = {
        "status": {"state": "active"},
        "startsAt": "2026-11-21T03:10:20Z",
        "fingerprint": "a",
        "labels": {"alertname": "a", "actuate": "lights/red=1"},
    }
    for body in ([listed], [], []):
        assert world.webhook is not None
        world.advance(1)
        now_s = world.clock.time()
        follower = world.webhook.follower
        alerts = active_alerts(json.dumps(body).encode(), "grafana http://grafana:3000")
        follower.follow(alerts, now_s, now_s, True)
    assert (asserted.by(), ended.by()) == (1, 1)

"""Alerts that are well formed and say odd things: taken in or ignored, and every question afterwards is answered."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.commands import decode_command
from tests.webhook.world import World, simulated
from webhook.facts import Facts


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all that comes."""
    with simulated() as clock:
        pins: dict[str, dict[str, dict[str, Any]]] = {"elsewhere": {"red": {}}}  # these boards may be of any kind
        folder: Path = tmp_path_factory.mktemp("odd")
        opened = World(clock, folder, pins, {}, lambda: None, lambda *_: None, lambda: None)
        opened.start()
        opened.advance(3)
        yield opened
        opened.kill()


HUGE = ["1e300", "-1e308", "5e-324", "9007199254740991", "9007199254740992", "1e999"]
VALUES = ["0", "1", "-0", "+1", ".5", "007", *HUGE]
PINS = ["lights/red", "lights/green", "a/b", "x" * 32 + "/" + "y" * 32, "x" * 33 + "/y", "lights", "/", "lights/red/x"]
TARGETS = st.lists(st.builds("{}={}".format, st.sampled_from(PINS), st.sampled_from(VALUES)), max_size=3).map(",".join)
TIMES = [
    "2026-11-21T03:10:20Z",
    "2026-11-21T03:10:21.123456789Z",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59",
    "2026-W01-1",
    "",
]
ALERT = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["firing", "firing", "resolved", "pending"]),
        "startsAt": st.sampled_from(TIMES),
        "labels": st.fixed_dictionaries(
            {"actuate": TARGETS | st.text(max_size=12)},
            optional={
                "alertname": st.text(max_size=40) | st.just("\0\u202e\U0001f525" * 80),
                "slot": st.sampled_from(["safety", "alert", "timer", "manual", "", "unknown"]),
            },
        ),
    },
    optional={
        "fingerprint": st.sampled_from(["a", "b", "person", "\0", "x" * 65, ""]),
        "annotations": st.dictionaries(st.sampled_from(["grafana_state_reason", "summary"]), st.text(max_size=9)),
    },
)  # fmt: skip


@given(alerts=st.lists(ALERT, min_size=1, max_size=4))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_alert_that_is_well_formed_is_too_odd(world: World, alerts: list[dict[str, Any]]) -> None:
    """Each has its outcome; what is published is a command; a person and the end of time put the pin right again."""
    one = world.webhook
    assert one is not None
    answer = one.alerts.receive(json.dumps({"version": "1", "alerts": alerts}).encode())
    assert len(answer["results"]) == len(alerts)
    facts = Facts(one.database, one.claims, one.commands, one.observed, 30, one.claims._holds)
    now_s = world.clock.time()
    told: list[object] = [facts.alerts(), facts.claims(), facts.pins(now_s), facts.changes(0, 0, None, 1000)]
    told += [facts.why((claim["device"], claim["pin"]), now_s) for claim in facts.claims()]
    json.dumps(told, allow_nan=False).encode()
    for topic, payload in world.broker.retained.items():
        if topic.endswith("/set"):
            assert decode_command(payload) is not None
    world.advance(200, 10)
    assert [claim for claim in one.claims.all() if claim.until_s is not None] == []

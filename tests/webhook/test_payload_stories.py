"""The senders' payload files, one after the other, from the body to the pin of a board."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.webhook.world import World, simulated

PAYLOADS = Path(__file__).parent / "payloads"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Greenhouses whose fans are safe at half speed, which is neither what an alert asks for nor off."""
    with simulated() as clock:
        pins = {f"greenhouse-{n}": {"fan": {"safe": 50, "default": 0, "max": 100, "pwm_hz": 100}} for n in (1, 2)}
        opened = World(clock, tmp_path, pins, {}, lambda: None, lambda *_: None, lambda: None)
        opened.start()
        opened.advance(3)
        yield opened
        opened.kill()


# What comes, what becomes of the fan's alert in it, and what the fan is then.
GRAFANA = [
    ("grafana_test_notification", "ignored", 0),
    ("grafana_firing", "claimed", 1),
    ("grafana_keeplast_sentinel_values", "renewed", 1),
    ("grafana_truncated", "renewed", 1),
    ("grafana_nodata", "ignored", 1),
    ("grafana_datasource_error", "ignored", 1),
    ("grafana_resolved_missing_series", "unknown", 50),
    ("grafana_firing", "stale", 50),
    ("grafana_resolved", "withdrawn", 0),
    ("grafana_resolved", "duplicate", 0),
    ("grafana_truncated", "stale", 0),
]
LEGACY = [
    ("legacy_alerting", "claimed", 1),
    ("legacy_alerting", "claimed", 1),
    ("legacy_no_data", "unknown", 50),
    ("legacy_alerting", "claimed", 1),
    ("legacy_ok", "withdrawn", 0),
]
ALERTMANAGER = [("alertmanager_v4", "claimed", 1), ("alertmanager_v4", "renewed", 1)]


@pytest.mark.parametrize(
    ("device", "story"),
    [("greenhouse-1", GRAFANA), ("greenhouse-1", LEGACY), ("greenhouse-2", ALERTMANAGER)],
    ids=["grafana", "legacy", "alertmanager"],
)
def test_what_senders_send_makes_the_pin_what_it_should_be(
    world: World, device: str, story: list[tuple[str, str, float]]
) -> None:
    """What is no condition changes nothing; an end that nobody saw is the safe value, not just off."""
    assert world.webhook is not None
    for number, (name, outcome, level) in enumerate(story):
        answer = world.webhook.alerts.receive((PAYLOADS / f"{name}.json").read_bytes())
        world.advance(3)
        assert (answer["results"][0]["outcome"], world.level[device, "fan"]) == (outcome, level), (number, name)

"""Grafana's form of the rules, and the file in the repository."""

import re
from pathlib import Path

import pytest
import yaml

from rules.grafana import document, render, uid
from rules.load import load_rules, parse_rules

ROOT = Path(__file__).resolve().parents[2]
RENDERED = ROOT / "grafana" / "provisioning" / "alerting" / "rules.yaml"


def rule(text: str, name: str = "r", then: str = "lights/red = 1") -> dict:
    """Return the one rule of the document that is rendered for `text`."""
    file = f"version: 1\nrules:\n- {{name: {name}, engine: grafana, {text}, then: ['{then}']}}"
    [group] = document(parse_rules(file))["groups"]
    assert group["interval"] == "10s"
    [found] = group["rules"]
    return found


def test_the_file_in_the_repository_is_that_of_the_sample():
    """When this fails, run `pinloop rules render` and commit the file."""
    old = RENDERED.read_text(encoding="utf-8")
    assert old == render(load_rules(ROOT / "rules" / "sample.yml"), old), f"{RENDERED} is stale"


def test_the_window_is_the_range_that_ends_now():
    """Not Grafana's groups of round times."""
    query = rule("when: pot > 80, over: 90s max, device: [a, b]")["data"][0]
    assert query["relativeTimeRange"] == {"from": 90, "to": 0}
    assert query["model"]["query"] == (
        """SELECT max("pot") FROM "readings" WHERE $timeFilter """
        """AND ("device" = 'a' OR "device" = 'b') GROUP BY "device\""""
    )


def test_without_a_window_the_last_reading_counts_until_the_device_is_silent():
    """As on the stream."""
    query = rule("when: pot > 80, no_data: {after: 5m}")["data"][0]
    assert query["relativeTimeRange"]["from"] == 300
    assert query["model"]["query"].startswith('SELECT last("pot")')


def test_clear_is_what_ends_a_firing_alert():
    """Grafana calls it the unload evaluator."""
    [limits] = rule("when: pot >= 80, clear: pot < 70")["data"][2]["model"]["conditions"]
    assert limits == {
        "evaluator": {"type": "gte", "params": [80]},
        "unloadEvaluator": {"type": "lt", "params": [70]},
    }
    assert "unloadEvaluator" not in rule("when: pot >= 80")["data"][2]["model"]["conditions"][0]


@pytest.mark.parametrize(
    ("text", "state", "evaluations"),
    [("when: pot > 80, over: 10s", "OK", 5), ("when: pot > 80", "OK", 1),
     ("when: pot > 80, no_data: {do: hold}", "KeepLast", 32767), ("when: pot > 80, no_data: {after: 200d}", "OK", 1)],
)  # fmt: skip
def test_a_silent_device_is_released_or_held(text: str, state: str, evaluations: int):
    """And a database that is away never fires anything: Grafana's default would."""
    found = rule(text)
    assert found["noDataState"] == state
    assert found["missing_series_evals_to_resolve"] == evaluations
    assert found["execErrState"] == "KeepLast"


def test_labels_with_templates_have_two_dollars_and_annotations_one():
    """Grafana expands variables of the environment in labels."""
    found = rule("when: pot > 80, slot: safety", then="{device}/fan = 1")
    assert found["labels"] == {"actuate": "{{ $$labels.device }}/fan=1", "slot": "safety"}
    assert "{{ $labels.device }}" in found["annotations"]["summary"]


def test_uids_are_stable_short_and_different():
    """Claims and silences hang on them."""
    assert uid("too-bright") == "pinloop-too-bright"
    long = [uid("a" * 63 + end) for end in "bc"]
    assert len(set(long)) == 2
    for one in (*long, uid("x" * 32)):
        assert re.fullmatch("[a-z0-9_-]{1,40}", one)
    assert uid("a" * 63 + "b") == long[0]


def test_only_rules_for_grafana_are_rendered():
    """The others are evaluated here."""
    assert document(parse_rules("version: 1\nrules:\n- {name: r, when: a > 1, then: [a/b = 1]}"))["groups"] == []


def test_a_rule_that_is_gone_stays_in_the_file_paused():
    """Grafana would go on evaluating it otherwise; when it comes back it is not paused any more."""
    first = "version: 1\nrules:\n- {name: a, when: x > 1, then: [a/b = 1], engine: grafana}"
    both = render(parse_rules(first + "\n- {name: b, when: x > 1, then: [a/b = 1], engine: grafana}"))
    one = render(parse_rules(first), both)
    assert {r["title"]: r["isPaused"] for r in yaml.safe_load(one)["groups"][0]["rules"]} == {"a": False, "b": True}
    assert render(parse_rules(first), one) == one
    none = render([], one)
    assert [r["isPaused"] for r in yaml.safe_load(none)["groups"][0]["rules"]] == [True, True]


@pytest.mark.parametrize("duration", ["0s", "500ms", "90m", "36h"])
def test_durations_are_whole_seconds(duration: str):
    """Grafana reads no fractions."""
    assert re.fullmatch(r"\d+s", rule(f"when: pot > 80, for: {duration}")["for"])

"""`make doctor STACK=1` on the running stack: content with all of it, and it names what is away."""

import json

import pytest

from tests.stack.compose import Stack
from tests.support.wait import until


def has_grafana(stack: Stack) -> bool:
    """Tell whether Grafana runs, not only what stands in for it."""
    return "upstream" in stack.images["COMPOSE_PROFILES"]


def examined(stack: Stack, *options: str) -> str:
    """Return what it prints."""
    grafana = {} if has_grafana(stack) else {"PINLOOP_DOCTOR_GRAFANA_URL": ""}
    return stack.make("doctor", "STACK=1", f"DOCTOR={' '.join(options)}", **grafana)


def test_a_stack_that_works_has_nothing_to_complain_of(stack: Stack) -> None:
    """Asked from inside: every part of it, the broker's database as well."""
    until(lambda: stack.query("SELECT count(pot) FROM readings WHERE device = 'pot'"), 10, "the pot's readings")

    said = json.loads(examined(stack, "--json"))

    assert said["ok"]
    findings = {one["check"]: one for one in said["findings"]}
    complaints = {name: one["saw"] for name, one in findings.items() if one["level"] != "ok"}
    if not has_grafana(stack):  # that its alerts cannot be read back is told, and it is true
        assert complaints.pop("webhook").startswith("grafana read-back: http://grafana:3000 does not answer")
    complaints.pop("rules' sensors", None)  # the load of the tests may not have sent its first level yet
    assert complaints == {}
    assert {
        "broker", "broker strangers", "broker rights", "broker database", "listener", "rules", "webhook", "hub",
        "store", "store reading", "webhook user operator", "webhook user alerts", "console password", "devices", "pins",
        "one of each", "clocks", "versions", "disk",
    } <= findings.keys()  # fmt: skip
    assert "2 online (lights, pot)" in findings["devices"]["saw"]


def test_what_is_away_is_named_and_the_exit_code_says_so(stack: Stack) -> None:
    """One line for people, and below it where to look."""
    stack.compose("stop", "rules")
    try:
        with pytest.raises(AssertionError, match="Error 1") as ended:
            examined(stack)
    finally:
        stack.compose("start", "rules")
        until(lambda: stack.healthy("rules"), 20, "rules is healthy", every_s=0.2)

    broken = [line for line in str(ended.value).splitlines() if line.startswith("BROKEN")]
    assert len(broken) == 1, broken
    assert broken[0].split()[1] == "rules"
    assert "docker compose logs rules" in str(ended.value)

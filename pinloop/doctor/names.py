"""The names in the rules: has any device such a sensor, or such a pin? A misspelt one is no mistake in the file."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pinloop.doctor.ask import NoAnswer, ask
from pinloop.doctor.findings import Finding, warning
from pinloop.doctor.target import Target

__all__ = ["check_names", "strangers"]


def check_names(target: Target) -> Iterator[Finding]:
    """Compare the rules that run with what the hub has heard of."""
    hub, rules, password = target.services.get("hub"), target.services.get("rules"), target.passwords.get("console")
    if not hub or not rules or password is None:
        return
    try:
        running, heard = ask(f"{rules}/rules"), ask(f"{hub}/api/devices", basic=("owner", password))
    except NoAnswer:
        return  # their own findings say it
    if running.status == heard.status == 200:
        yield from strangers(running.json()["rules"], heard.json()["devices"])


def strangers(rules: Sequence[Mapping[str, Any]], devices: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Report sensors that no device has told of, and pins that no device has.

    Args:
        rules: as GET /rules shows them.
        devices: as GET /api/devices shows them.
    """
    if not devices:
        return  # nothing has been heard yet: that is a finding of its own
    sensors = {sensor for one in devices for sensor in (*one["readings"], *one["info"]["sensors"])}
    pins = {f"{one['device']}/{pin}" for one in devices for pin in one["info"]["pins"]}
    looked_at = {(rule["when"].split()[0], rule["name"]) for rule in rules if "when" in rule}
    asked = {(target.rpartition("=")[0], rule["name"]) for rule in rules for target in rule["then"]}
    if unknown := [_told(name, rule, sensors) for name, rule in sorted(looked_at) if name not in sensors]:
        yield warning(
            "rules' sensors",
            f"No device has sent what these rules look at: {', '.join(unknown)}.",
            "Compare the names with `pinloop device list`; a device that reports seldom may not have been heard yet.",
        )
    # "{device}/fan" is a pin of the device that the reading came from.
    if unknown := [_told(name, rule, pins) for name, rule in sorted(asked) if "{" not in name and name not in pins]:
        yield warning(
            "rules' pins",
            f"No device has the pins that these rules ask for: {', '.join(unknown)}.",
            "Compare the names with `pinloop pin list`; one of other firmware is declared in routes.yml.",
        )


def _told(name: str, rule: str, known: set[str]) -> str:
    near = get_close_matches(name, sorted(known), 1)
    return f"{name} (rule {rule}{f'; did you mean {near[0]}?' if near else ''})"

"""The rows of `pinloop pin list`: what is not known now is never shown as if it were."""

from typing import Any

from pinloop.show import ago, clock, number

__all__ = ["COLUMNS", "NOTHING_YET", "SELDOM", "held_by", "note", "row"]

COLUMNS = ("pin", "desired", "reported", "slot", "from", "differs", "held", "note")
SELDOM = ("differs", "held")
NOTHING_YET = "nothing reported yet"


def row(one: dict[str, Any]) -> tuple[str, ...]:
    """Return a pin of GET /api/pins as a row; `was 1` in place of a report of a device that is away."""
    desired, reported = one["desired"] or {}, one["reported"] or {}
    said = number(reported.get("value"))
    return (
        f"{one['device']}/{one['pin']}",
        number(desired.get("value")),
        said if one["current"] or not reported else f"was {said}",
        desired.get("slot", "-"),
        desired.get("source", "-"),
        "-" if one["drift_s"] is None else f"for {one['drift_s']:.0f} s",
        held_by(one),
        note(one) or "-",
    )


def held_by(one: dict[str, Any]) -> str:
    """Say what keeps a command from the pin: a guard (and for how long yet), dry-run, quarantine."""
    found = ["dry-run"] if one["dry_run"] else []
    if one["held"]:
        until_s = one["held"]["until_s"]
        found.append(one["held"]["by"] + ("" if until_s is None else f" until {clock(until_s)}"))
    if one["quarantine"]:
        found.append("quarantine")
    return ", ".join(found) or "-"


def note(one: dict[str, Any]) -> str:
    """Say what is not known of a pin, or not declared; "" when its report holds now."""
    if not one["declared"]:
        if one["reported"]:
            return "its device declares it no more: `pinloop pin forget` clears what it left"
        return "its device has not been seen" if one["status"] == "unknown" else "its device does not declare it"
    if one["current"]:
        return ""
    if one["status"] == "online":
        return "the hub does not hear the broker: last known" if one["reported"] else NOTHING_YET
    away = f"{one['status']} ({ago(one['status_since_s']) or 'since before the hub started'})"
    if not one["reported"]:
        return f"{away}: nothing reported"
    believed = one["believed"]
    if believed is None:
        return f"{away}: last known"
    if believed["until_s"] is None:
        return f"{away}: thought to be {number(believed['value'])}, {believed['because']}"
    until = clock(believed["until_s"])
    return f"{away}: thought to be {number(believed['value'])} until {until} at the latest; {believed['because']}"

"""Why a pin is what it is, as one sentence for people.

A pure function of the facts that GET /pins shows.
"""

from datetime import datetime
from typing import Any

from contract.commands import COMMAND, RELEASED
from webhook.guards import MAX_ON

__all__ = ["sentence"]


def sentence(
    pin: dict[str, Any],
    person: bool,
    changed_s: float | None,
    reported_after_s: float | None,
    now_s: float,
    cause: str = "",
    *,
    away: str = "",
    refused: str = "",
) -> str:
    """Return the answer to "why is this pin on?".

    Args:
        pin: one of the objects of GET /pins.
        person: the claim that wins is a person's.
        changed_s: when the pin was last asked to be what it is asked to be, seconds since 1970; None: never.
        reported_after_s: seconds from that command to the device's report; None: not reported.
        now_s: seconds since 1970.
        cause: why the command became what it is, from the log.
        away: why the device may be anything else than it has reported, "" when it is there.
        refused: why the device does not take what it is told, "" when it does.
    """
    parts = [_wish(pin, person, changed_s, now_s, cause, away=bool(away))]
    if pin.get("held"):
        parts.append(_held(pin["held"]))
    if pin.get("dry_run"):
        parts.append("dry-run: nothing is sent to it")
    if refused:
        parts.append(f"the device does not take that: it {refused}")
    parts.append(_report(pin, reported_after_s))
    if away:
        parts.append(away)
    if pin["drift_s"] is not None:
        parts.append(f"it has not followed for {_duration(pin['drift_s'])}")
    return "; ".join(parts)


def _wish(pin: dict[str, Any], person: bool, changed_s: float | None, now_s: float, cause: str, *, away: bool) -> str:
    desired = pin["desired"]
    age = f" for {_duration(now_s - changed_s)}" if changed_s is not None else ""
    if desired is None and pin.get("held"):
        return "no claim"
    if desired is None:
        end = f" ({cause})" if cause else ""
        return (
            f"released{age}{end}: no claim, so the device keeps its default" if age else "no claim, and never had one"
        )
    if desired["slot"] == "unknown":
        known = "the safe value" if desired["value"] is None else f"the safe value {desired['value']:g}"
        return f"{known}{age}: alert {desired['source']} ended without saying whether its condition did"
    who = f"{'person' if person else 'alert'} {desired['source']} (slot {desired['slot']})"
    state = {0: "off", 1: "on"}.get(desired["value"], f"at {desired['value']:g}")
    until = _clock(desired["until_s"])
    end = f"until {until}" if person else f"until {until} unless renewed"
    asks = f"{who} asks for {desired['value']:g} {end}"
    if pin.get("held") and pin["held"]["wanted"] == desired["value"]:
        return asks
    # Nobody knows what a pin is whose device is away or silent, and one that says otherwise is not what it was told.
    follows = not away and pin["reported"] is not None and pin["reported"]["value"] == desired["value"]
    only = "would be " if pin.get("dry_run") else "" if follows else "told to be "
    return f"{only}{state}{age}: {asks}"


def _held(held: dict[str, Any]) -> str:
    what = "the release" if held["wanted"] is None else f"{held['wanted']:g}"
    if held["until_s"] is not None:
        end = f"until {_clock(held['until_s'])}"
    elif held["by"] == MAX_ON:
        end = "until nobody wants it on any more"
    else:
        end = "until the other pin is off"
    return f"{what} is held back by {held['by']} {end}"


def _clock(t_s: float) -> str:
    """Return the time of day here, with its zone: who reads it may be elsewhere, and a container is in UTC."""
    try:
        return datetime.fromtimestamp(t_s).astimezone().strftime("%H:%M:%S %Z")
    except (ValueError, OverflowError, OSError):  # a device may declare a pause of a million years
        return "after the year 9999"


def _report(pin: dict[str, Any], reported_after_s: float | None) -> str:
    reported = pin["reported"]
    if reported is None:
        return "the device has reported nothing"
    text = f"reported {reported['value']:g} ({reported['why']})"
    if reported_after_s is not None and reported["why"] in (COMMAND, RELEASED):
        text += f", {round(reported_after_s * 1000)} ms after the command"
    return text


def _duration(seconds: float) -> str:
    """Return a duration as people say it: 12 s, 4 min, 2 h 5 min, 3 days."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min" if whole % 3600 >= 60 else f"{whole // 3600} h"
    return f"{whole // 86400} days" if whole >= 2 * 86400 else "1 day"

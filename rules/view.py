"""GET /rules: every rule with its state for each device, as JSON."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rules import daily
from rules.alerts import Alert
from rules.evaluate import FIRING, OK, Key, State
from rules.model import Condition, Daily, Rule
from rules.rulebook import Rulebook
from rules.runner import Runner

__all__ = ["application", "document"]


def application(rulebook: Rulebook, runner: Runner, wall: Callable[[], float]) -> Any:
    """Return the WSGI application."""

    def answer(environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/rules" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("404 Not Found", [("Content-Type", "application/json")])
            return [b'{"error":"only GET /rules, /healthz, /readyz and /metrics are here"}\n']
        wall_s = wall()
        found = {
            "path": str(rulebook.path),
            "loaded_s": rulebook.loaded_s,
            "problems": [str(problem) for problem in rulebook.problems],
            "rules": runner.look(lambda states, alerts, now_s: document(rulebook.rules, states, alerts, now_s, wall_s)),
        }
        start_response("200 OK", [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [msgspec.json.encode(found), b"\n"]

    return answer


def document(
    rules: Sequence[Rule], states: Sequence[State], alerts: Mapping[Key, Alert], now_s: float, wall_s: float
) -> list[dict[str, object]]:
    """Return what stands for each rule, in the order of the file.

    Args:
        now_s: by the clock that the states' times are of.
        wall_s: seconds since 1970; every time in the result is.
    """
    by_rule: dict[str, list[State]] = {}
    for state in states:
        by_rule.setdefault(state.rule.name, []).append(state)
    found: list[dict[str, object]] = []
    for rule in rules:
        entry: dict[str, object] = {"name": rule.name, "engine": rule.engine, "slot": rule.slot}
        entry["then"] = [f"{target.device}/{target.pin}={target.value}" for target in rule.then]
        if isinstance(rule.trigger, Daily):
            entry["daily"] = f"{rule.trigger.at:%H:%M}"
            entry["lasts_s"] = rule.trigger.lasts_s
            entry["tz"] = rule.trigger.tz.key
            entry["next_change_s"] = daily.next_change(rule.trigger, wall_s)
        else:
            entry |= _condition(rule.trigger)
        seen = sorted(by_rule.get(rule.name, []), key=lambda state: state.device)
        entry["states"] = [_state(state, alerts.get((rule.name, state.device)), wall_s - now_s) for state in seen]
        found.append(entry)
    return found


def _condition(condition: Condition) -> dict[str, object]:
    return {
        "when": f"{condition.sensor} {condition.when}",
        "clear": f"{condition.sensor} {condition.clear}" if condition.clear else None,
        "over_s": condition.over_s,
        "reduce": condition.reduce,
        "for_s": condition.for_s,
        "devices": condition.devices or "*",
        "no_data": {"after_s": condition.no_data.after_s, "do": condition.no_data.do} if condition.no_data else None,
    }


def _state(state: State, alert: Alert | None, offset_s: float) -> dict[str, object]:
    """Return one device's state; `offset_s` turns the times of its clock into seconds since 1970."""
    pending = state.status == OK and state.pending_s is not None
    return {
        "device": state.device,
        "status": "pending" if pending else state.status,
        "value": state.value,
        "since_s": round((state.pending_s if pending and state.pending_s else state.since_s) + offset_s, 3),
        "firing_since_s": alert.starts_at_s if alert and state.status == FIRING else None,
        "silent": state.silent,
        "confirmed": state.confirmed,
    }

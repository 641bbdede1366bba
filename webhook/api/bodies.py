"""Bodies: what requests may hold, as JSON schemas for the OpenAPI document."""

from typing import Any

from webhook.arbiter import MANUAL, SAFETY

__all__ = ["MANUAL_CLAIM", "NOTIFICATION"]

_TEXTS: dict[str, Any] = {"type": ["object", "null"], "additionalProperties": {"type": ["string", "null"]}}

_ALERT: dict[str, Any] = {
    "title": "One alert",
    "type": "object",
    "required": ["status", "startsAt"],
    "properties": {
        "status": {"enum": ["firing", "resolved"]},
        "labels": {**_TEXTS, "description": "`actuate` names the pins: lights/red=1,lights/green=0; `slot` the slot."},
        "annotations": {"type": ["object", "null"]},
        "startsAt": {"type": "string", "description": "RFC 3339; with `fingerprint` it names the episode."},
        "fingerprint": {"type": "string"},
    },
}

NOTIFICATION: dict[str, Any] = {
    "title": "Notification",
    "description": "Told apart by their fields. An alert that is not as it should be is ignored; the others count.",
    "anyOf": [
        {
            "title": "Grafana unified alerting (version 1) or Prometheus Alertmanager (version 4)",
            "type": "object",
            "required": ["alerts"],
            "properties": {
                "version": {"enum": ["1", "4"]},
                "alerts": {"type": "array", "items": _ALERT},
                "truncatedAlerts": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
                "externalURL": {"type": "string", "description": "Names the sender."},
                "orgId": {"type": "integer"},
            },
        },
        {
            "title": "Grafana legacy notification channel",
            "type": "object",
            "required": ["state"],
            "properties": {
                "state": {"enum": ["alerting", "ok", "no_data", "paused", "pending"]},
                "alerts": {"type": "null"},
                "version": {"type": "null"},
                "ruleId": {"type": ["integer", "null"]},
                "ruleName": {"type": ["string", "null"]},
                "message": {"type": ["string", "null"]},
                "tags": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
            },
        },
    ],
}

MANUAL_CLAIM: dict[str, Any] = {
    "title": "Manual claim",
    "type": "object",
    "required": ["value"],
    "additionalProperties": False,
    "properties": {
        "value": {"type": "number", "description": "Within what the device says of the pin."},
        "for": {
            "type": "string",
            "pattern": r"^(?=.)([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$",
            "default": "30m",
            "description": "How long, 24 h at most.",
        },
        "until_s": {"type": ["number", "null"], "description": "Seconds since 1970, instead of `for`."},
        "by": {"type": "string", "default": "operator", "description": "Who asks, for people."},
        "slot": {"enum": [MANUAL, SAFETY], "default": MANUAL},
    },
}

"""From the picture to what the templates show: plain values, decided once, no markup.

The one rule here: a value that may not hold any more is never said as if it did.
"""

from typing import Any

from contract.presence import ONLINE
from hub import words
from hub.live import Picture

__all__ = ["Json", "alert_views", "device_view", "device_views", "notices", "pin_view", "pin_views"]

Json = dict[str, Any]

_NAMES = {"broker": "the broker", "webhook": "the webhook", "store": "the store", "listener": "the listener"}
_SAYS = {words.STORING: "Readings are not being stored"}  # of the others: no connection
_MEANS = {
    "broker": "Nothing below is current.",
    "webhook": "Who wants what is as of then, and pins cannot be switched from here.",
    "store": "Charts begin now.",
    "listener": "Nobody knows whether readings are stored.",
    words.STORING: "They wait until that is mended.",
}


def notices(picture: Picture) -> list[Json]:
    """Return what is wrong around the hub: says, means, problem, since_s."""
    return [
        {"says": _SAYS.get(name) or f"No connection from the hub to {_NAMES[name]}", "means": _MEANS[name], **link}
        for name, link in sorted(picture.links().items())
        if link["problem"]
    ]


def device_views(picture: Picture) -> list[Json]:
    """Return every device, those that are away last."""
    heard = not picture.links().get("broker", {"problem": None})["problem"]
    views = [device_view(device, heard) for device in picture.devices()]
    return sorted(views, key=lambda view: view["status"] == "offline")


def device_view(device: Json, heard: bool) -> Json:
    """Return a device with its readings as text, its status in words, and the facts of its info that people ask for.

    Args:
        heard: the hub hears the broker; without it, what was online is only known to have been.
    """
    info = device["info"]
    facts = [
        text
        for text in (
            _fact(info, "chip", "{}"),
            _fact(info, "fw", "firmware {}"),
            _fact(info, "ip", "{}"),
            _fact(info, "rssi", "{} dBm"),
        )
        if text
    ]
    readings = [
        {"sensor": sensor, "text": words.number(reading["value"], reading["decimals"]), **reading}
        for sensor, reading in device["readings"].items()
    ]
    status = device["status"]
    if status == "unknown":
        # Other firmware tells the listener, not the hub, whether it is there; its readings say it as well.
        status = "readings, no status" if readings else "not heard of yet"
    elif not heard:
        status = f"last known {status}"
    return {**device, "says": status, "heard": heard, "facts": facts, "readings": readings}


def _fact(info: Json, key: str, form: str) -> str:
    value = info.get(key)
    return form.format(value) if isinstance(value, (str, int, float)) and value != "" else ""


def pin_views(picture: Picture) -> list[Json]:
    """Return every pin."""
    return [pin_view(picture, entry) for entry in picture.pins()]


def pin_view(picture: Picture, entry: Json) -> Json:
    """Return a pin as its card shows it: the picture's entry, and

    `low`, `high`, `is_switch`: what it takes; `now`, `wanted`: values as text; `current`: whether `now` holds now, else
    `until_s`: until when it did, and `away_since_s`: since when its device is away or out of sight; `because`: why the
    device set it; `desired` (with its value as text in `says`), `claims`, `changes`: the webhook's answer to "why is
    this pin on?"; `manual`: the claim of a person, or None; `by_person`: whether that one wins; `held`: the wish that a
    guard holds back (`says`, `because`, `until_s`), or None; `dry_run`: the webhook sends it nothing; `quarantine`: why
    nothing is sent to it for a while, or None.
    """
    device = picture.device(entry["device"])
    declared = device["info"]["pins"].get(entry["pin"], {}) if device else {}
    low, high = declared.get("min", 0), declared.get("max", 1)
    is_switch = (low, high) == (0, 1)
    explained = entry["explained"] or {}
    claims = explained.get("claims") or []
    reported = entry["reported"]
    desired = explained.get("desired")
    held = explained.get("held")
    wanted = entry["command"] or (desired if desired and desired["value"] is not None and not held else None)
    person = [claim for claim in claims if not claim["fingerprint"]]
    broker = picture.links().get("broker", {"problem": None})
    current = bool(reported and device and device["status"] == ONLINE and not broker["problem"])

    def said(value: float | None) -> str:
        if value is None:
            return "the safe value"
        return words.switch(value) if is_switch and value in (0, 1) else words.number(value)

    return {
        **entry,
        "low": low,
        "high": high,
        "is_switch": is_switch,
        "now": said(reported["value"]) if reported else "?",
        "on": bool(reported and reported["value"]),
        "status": device["status"] if device else "unknown",
        "away_since_s": None if current or not device else _away_since(device, broker),
        "current": current,
        "until_s": None if current else _known_until(entry, device, broker),
        "because": words.WHY[reported["why"]] if reported else "",
        "wanted": said(wanted["value"]) if wanted else None,
        "desired": desired and {**desired, "says": said(desired["value"])},
        "held": held
        and {
            **held,
            "says": "the release" if held["wanted"] is None else said(held["wanted"]),
            "because": words.GUARDS.get(held["by"], held["by"]),
        },
        "dry_run": explained.get("dry_run", False),
        "quarantine": explained.get("quarantine"),
        "manual": person[0] if person else None,
        "by_person": bool(person) and person[0] is claims[0],
        "claims": [{**claim, "says": said(claim["value"])} for claim in claims],
        "changes": [
            {**change, "says": "released" if change["value"] is None else said(change["value"])}
            for change in explained.get("changes") or []
        ],
    }


def _away_since(device: Json, broker: Json) -> float | None:
    """Return since when a device is what it is, or, where only the hub hears nothing, since when that is so."""
    return device["since_s"] if device["status"] != ONLINE else broker["since_s"]  # type: ignore[no-any-return]


def _known_until(entry: Json, device: Json | None, broker: Json) -> float | None:
    """Return until when the reported value is known to have held, None when that is unknown."""
    ends = [broker["since_s"]] if broker["problem"] else []
    if device and device["status"] != ONLINE:
        ends.append(device["since_s"] or (entry["reported"] or {}).get("at_s"))
    return min([end for end in ends if end], default=None)


def alert_views(picture: Picture) -> Json:
    """Return `firing` and `resolved` alerts, the newest first, and `away`: whether they are not known now."""
    ordered = sorted(picture.alerts(), key=lambda alert: alert.get("since_s") or 0, reverse=True)
    return {
        "firing": [alert for alert in ordered if alert.get("status") == "firing"],
        "resolved": [alert for alert in ordered if alert.get("status") != "firing"],
        "away": bool(picture.links().get("webhook", {"problem": "not asked yet"})["problem"]),
    }

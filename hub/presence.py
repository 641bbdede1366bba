"""What a pin is now, when its device cannot be asked: pure.

A report is of the moment at which it was made. Of a device that is away it is the last known value; what the pin is
meanwhile follows from the contract: a device of ours sets its safe value by itself when its link stays away.
"""

from typing import Any

from contract.presence import OFFLINE, ONLINE

__all__ = ["FOREIGN", "presence"]

Json = dict[str, Any]

# What `info` says as `fw` of a device of other firmware, which has no lease and stays as it is without its link.
FOREIGN = ("tasmota", "zigbee2mqtt", "esphome", "shelly1", "shelly2", "custom")
_LINK_LOST_S = 60  # the firmware's, where `info` does not say


def presence(
    pin: str, reported: Json | None, device: Json | None, *, began_s: float, heard: bool, now_s: float
) -> Json:
    """Return what is known of a pin's presence:

    `declared`: its device says that it has it; `status`, `status_since_s`: of the device (None: since before this hub);
    `current`: whether what was reported holds now; `believed`: what a pin of a device that is offline is thought to be
    (`value`, `until_s`: at the latest, None for no end, `because`), None when there is nothing to think about.

    Args:
        reported: what the device said last of the pin, None for nothing.
        device: of the picture, None when it was never heard of.
        began_s: since when the hub listens, seconds since 1970.
        heard: the hub's connection with the broker stands.
    """
    status = device["status"] if device else "unknown"
    declared = device["info"]["pins"].get(pin) if device else None
    current = bool(reported) and status == ONLINE and heard
    believed = None
    if device and declared is not None and reported and status == OFFLINE:
        away_s = device["since_s"] or began_s
        believed = _believed(reported["value"], declared, device["info"].get("fw"), away_s, now_s)
    return {
        "declared": declared is not None,
        "status": status,
        "status_since_s": device["since_s"] if device else None,
        "current": current,
        "believed": believed,
    }


def _believed(value: float, declared: Json, firmware: object, away_s: float, now_s: float) -> Json:
    safe = declared.get("safe", 0)
    ends_s = away_s + declared.get("link_lost_s", _LINK_LOST_S)
    if firmware in FOREIGN:
        return {"value": value, "until_s": None, "because": "other firmware stays as it is without its link"}
    if declared.get("hold"):
        return {"value": value, "until_s": None, "because": "it holds its value without its link"}
    if value == safe or now_s >= ends_s:
        return {"value": safe, "until_s": None, "because": "without its link it sets its safe value"}
    return {"value": value, "until_s": ends_s, "because": "then, without its link, it sets its safe value"}

"""Status and info: whether a device is there, and what it is.

`info` is read loosely (later firmware adds keys), except for the names of
sensors and pins, which end up in topics, and the numbers that guard a pin.
"""

from contract.errors import PayloadError
from contract.limits import MAX_INTEGER, MAX_PAYLOAD_BYTES
from contract.payloads import json_of, mapping, number, text_of
from contract.topics import is_name

ONLINE = "online"
OFFLINE = "offline"
SLEEPING = "sleeping"
STATUSES = (ONLINE, OFFLINE, SLEEPING)

# Numbers that a pin may declare in `info`; seconds where the name says so.
PIN_NUMBERS = (
    "gpio", "safe", "boot", "default", "min", "max", "link_lost_s", "min_on_s", "min_off_s", "max_on_s",
    "max_switches_per_h",
)  # fmt: skip


def decode_status(payload: bytes) -> str:
    """Return one of STATUSES.

    Raises:
        PayloadError: it is none of them (reason "status").
    """
    text = text_of(payload, "status", 64)
    if text not in STATUSES:
        raise PayloadError("status", text, "is not one of " + ", ".join(STATUSES), "status")
    return text


def decode_info(payload: bytes) -> "dict[str, object]":
    """Return the `info` object; "sensors" and "pins" are dicts of dicts, empty when not said.

    Raises:
        PayloadError: no JSON object, a name outside the grammar, or a pin's limit that is no number.
    """
    info = mapping(json_of(text_of(payload, "info", MAX_PAYLOAD_BYTES), "info"), "info")
    for part in ("sensors", "pins"):
        names = mapping(info.get(part, {}), "info." + part)
        for name, declared in names.items():
            if not is_name(name):
                raise PayloadError("info." + part, name, "is not a name: 1 to 32 of a-z 0-9 _, first a letter", "name")
            key = "info." + part + "." + name
            for field, value in mapping(declared, key).items():
                if part == "pins" and field in PIN_NUMBERS and abs(number(value, key + "." + field)) > MAX_INTEGER:
                    # A float may be: whoever makes a whole number of it has one that no database takes.
                    raise PayloadError(key + "." + field, value, "is beyond 2**53", "number")
        info[part] = names
    return info

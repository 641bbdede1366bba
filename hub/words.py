"""How the console says things: numbers, times and why a pin is what it is, for people."""

import math
from datetime import UTC, datetime

from contract import commands

__all__ = ["GUARDS", "STORING", "WHY", "age", "decimals", "iso", "left", "number", "switch"]

# The link of the picture that says whether readings are being stored; the others are connections of the hub.
STORING = "storing"

# Why a device set a pin, as the end of "reported ...".
WHY = {
    commands.COMMAND: "as commanded",
    commands.RELEASED: "released",
    commands.EXPIRED: "the lease ended, safe value",
    commands.LINK_LOST: "the device lost its link, safe value",
    commands.BOOT: "the device started",
    commands.GUARD: "held by a guard",
    commands.LOCAL: "switched at the device",
}

# What a guard of the webhook says while it holds a wish back.
GUARDS = {
    "min_on_s": "it has to stay on for a while",
    "min_off_s": "it has to rest",
    "max_on_s": "it ran for as long as it may, and starts again once nobody wants it on any more",
    "max_switches_per_h": "it was switched on often enough for an hour",
    "exclusive_with": "another pin has to be off first",
    "quiet": "these are its quiet hours",
}


def decimals(value: float) -> int:
    """Return how many decimals show a value to about four digits and no zeros for nothing."""
    most = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1 if abs(value) < 10_000 else 0
    return next((count for count in range(most) if round(value, count) == round(value, most)), most)


def number(value: float, places: int | None = None) -> str:
    """Return a value as text, with a real minus sign."""
    return f"{value:.{decimals(value) if places is None else places}f}".replace("-", "−")


def switch(value: float) -> str:
    """Return what a pin with two states is called."""
    return "on" if value else "off"


def age(seconds: float) -> str:
    """Return a duration in its largest unit, as static/console.js does."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def left(seconds: float) -> str:
    """Return how long is left, as 4:05 below an hour and as 2 h 10 min above, as static/console.js does."""
    whole = max(0, math.ceil(seconds))
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def iso(t_s: float) -> str:
    """Return seconds since 1970 as the datetime of a <time> element."""
    return datetime.fromtimestamp(t_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

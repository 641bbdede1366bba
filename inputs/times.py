"""Times as others write them, to seconds since 1970. Pure: whether one is plausible is judged against the receipt."""

from datetime import datetime, tzinfo

__all__ = ["instant"]

# Beyond these a number counts milliseconds, microseconds, nanoseconds: in seconds it would be after the year 5000.
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def instant(value: object, zone: tzinfo | None = None) -> float | None:
    """Return seconds since 1970, or since the device's start when that is what it counts; None for no time.

    Args:
        value: a number of s, ms, us or ns, or ISO 8601 text.
        zone: of texts that name none; None: such a text tells no time, for nobody knows what its clock shows.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        for least, per_s in _UNITS:
            if abs(value) >= least:
                return value / per_s if abs(value) < 1e20 else None
        return float(value) if value == value else None
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.fromisoformat(value.strip())
        if found.tzinfo is None:
            if zone is None:
                return None
            found = found.replace(tzinfo=zone)
        return found.timestamp()
    except (ValueError, OverflowError):
        return None

"""Ranges: which values a pin takes, as its device declares it.

The device refuses all others, and goes on with the command that it had. Pure.
"""

from collections.abc import Mapping

from contract.payloads import number

__all__ = ["refused"]


def refused(declared: Mapping[str, object], value: float) -> str:
    """Say why the pin's device does not take `value`, "" when it does or has not told.

    Args:
        declared: what the device's `info` says of the pin.
    """
    for limit, beyond in (("min", -1), ("max", 1)):
        if limit in declared and (value - number(declared[limit], limit)) * beyond > 0:
            return f"is beyond the pin's {limit}, {declared[limit]}"
    if "gpio" in declared and "pwm_hz" not in declared and value not in (0, 1):  # our firmware: no duty
        return "is neither 0 nor 1: the pin is a switch, it has no pwm_hz"
    return ""

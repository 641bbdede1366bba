"""What CPython lacks of MicroPython's own module."""


def const(value: int) -> int:
    """Return `value`; on MicroPython the compiler puts it in place."""
    return value

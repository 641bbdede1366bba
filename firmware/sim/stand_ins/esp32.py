"""Stands in for MicroPython's `esp32`: `temp_f` holds the chip's temperature in whole degrees Fahrenheit."""


def raw_temperature() -> int:
    """Return degrees Fahrenheit."""
    try:
        with open("temp_f") as file:
            return int(file.read())
    except OSError:
        return 122

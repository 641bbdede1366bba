"""The chip's own temperature in degrees Celsius: the ESP32's, a few degrees above the room's.

The first ESP32 tells whole degrees Fahrenheit (`raw_temperature`), later chips
Celsius (`mcu_temperature`); the ESP8266 has none. Source: MicroPython, `esp32`.
"""

import esp32


class Sensor:
    """Config: none."""

    unit = "°C"

    def __init__(self, config: dict) -> None:
        pass

    def read(self) -> float:
        """Return degrees Celsius with one decimal."""
        if hasattr(esp32, "mcu_temperature"):
            return esp32.mcu_temperature()
        return round((esp32.raw_temperature() - 32) / 1.8, 1)

"""A voltage as a part of the full range, in percent: potentiometers, light and soil sensors.

ESP32: use ADC1 (GPIO 32-39), ADC2 fails while Wi-Fi is on; 11 dB of attenuation
for the whole 0-3.3 V, below 0.1 V it reads 0. ESP8266: ADC(0) only, 0-1 V at
the chip. Source: ESP32 datasheet 4.1.2, MicroPython quick references.
"""

import machine

from firmware import board


class Sensor:
    """Config: gpio, decimals (0: whole percents, rounded down, as `analogRead() * 100 / 4095` gives)."""

    unit = "%"

    def __init__(self, config: dict) -> None:
        self._adc = machine.ADC(config["gpio"] if board.ESP8266 else machine.Pin(config["gpio"]))
        self._decimals = config.get("decimals", 0)
        if hasattr(machine.ADC, "ATTN_11DB"):
            self._adc.atten(machine.ADC.ATTN_11DB)

    def read(self) -> float:
        """Return 0 to 100."""
        raw = self._adc.read_u16()
        return round(raw * 100 / 65535, self._decimals) if self._decimals else raw * 100 // 65535

"""Units that are stored as one: the conversion is exact, and nothing else is ever converted."""

from collections.abc import Mapping

__all__ = ["UNITS", "fahrenheit", "normal"]

# unit -> (factor, offset): stored = value * factor + offset, in C, hPa, W, Wh, V, A, m/s
UNITS: Mapping[str, tuple[float, float]] = {
    "C": (1.0, 0.0), "°C": (1.0, 0.0), "F": (5 / 9, -160 / 9), "°F": (5 / 9, -160 / 9), "K": (1.0, -273.15),
    "hPa": (1.0, 0.0), "mbar": (1.0, 0.0), "Pa": (0.01, 0.0), "kPa": (10.0, 0.0), "bar": (1000.0, 0.0),
    "mmHg": (1.333223684, 0.0), "inHg": (33.86388667, 0.0), "psi": (68.94757293, 0.0),
    "W": (1.0, 0.0), "mW": (0.001, 0.0), "kW": (1000.0, 0.0),
    "Wh": (1.0, 0.0), "kWh": (1000.0, 0.0), "Wmin": (1 / 60, 0.0),
    "V": (1.0, 0.0), "mV": (0.001, 0.0), "A": (1.0, 0.0), "mA": (0.001, 0.0),
    "m/s": (1.0, 0.0), "km/h": (1 / 3.6, 0.0),
}  # fmt: skip


def normal(value: float, unit: str) -> float:
    """Return a value of `unit` (a key of UNITS) in the unit that is stored."""
    factor, offset = UNITS[unit]
    return value if (factor, offset) == (1.0, 0.0) else round(value * factor + offset, 6)


def fahrenheit(value: float) -> float:
    """Return degrees Celsius."""
    return normal(value, "F")

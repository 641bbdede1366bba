"""Sensors: one file a driver.

A driver is a class `Sensor(config)` with `unit` and `read()`, which returns a
number or raises OSError when the sensor does not answer.
"""


def open_sensor(config: dict):
    """Return the sensor that `config` ({"driver": ..., ...}) describes; ImportError for an unknown driver."""
    module = __import__("firmware.sensors." + config["driver"], None, None, ("Sensor",))
    return module.Sensor(config)

"""Runs the firmware on a computer: virtual devices whose pins are plain files.

`python -m firmware.sim run DIR` is a board: it powers the device whose folder
DIR is, and restarts it when it resets, crashes or its watchdog bites.
"""

from firmware.sim.device import create_device

__all__ = ["create_device"]

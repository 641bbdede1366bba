"""What is flashed: MicroPython for ESP32 and ESP8266.

The same files run on a computer, see `firmware.sim`. They import `contract` and
MicroPython's own modules, nothing else.
"""

VERSION = "0.1.0"

"""Stands in for MicroPython's `network`: Wi-Fi is there unless the file `link` holds 0.

`rssi` holds the strength of the signal in dBm. Both lie in the device's folder.
"""

STA_IF = 0


def _number(name: str, default: int) -> int:
    try:
        with open(name) as file:
            return int(file.read())
    except (OSError, ValueError):
        return default


class WLAN:
    """The station."""

    def __init__(self, interface: int) -> None:
        self._joined = False

    def active(self, on: bool) -> None:
        """Switch the radio; off forgets the network."""
        self._joined = self._joined and on

    def connect(self, ssid: str, password: str) -> None:
        """Join whatever network is there."""
        self._joined = True

    def isconnected(self) -> bool:
        """Tell whether the network can be used."""
        return self._joined and _number("link", 1) == 1

    def ifconfig(self) -> tuple:
        """Return address, mask, gateway and name server."""
        return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def status(self, what: str) -> int:
        """Return the signal in dBm (`what` is "rssi")."""
        return _number("rssi", -60)

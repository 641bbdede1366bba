"""The Wi-Fi station: idle, connecting, connected, lost.

Follows what is known of the ports: a second connect() without a pause and an
active(False) raises "Wifi Internal Error", and status() may lie about a wrong
password, so only isconnected() and the time decide.
"""

import asyncio

import network

IDLE = "idle"
CONNECTING = "connecting"
CONNECTED = "connected"
LOST = "lost"

_CONNECT_S = 60
_PAUSE_S = 5


class Wifi:
    """One station.

    Args:
        config: {"ssid", "password"}.
    """

    def __init__(self, config: dict) -> None:
        self._ssid = config.get("ssid", "")
        self._password = config.get("password", "")
        self._station = network.WLAN(network.STA_IF)
        self.state = IDLE

    def check(self) -> bool:
        """Tell whether there is a connection now, and note when it was lost."""
        if self._station.isconnected():
            self.state = CONNECTED
            return True
        if self.state == CONNECTED:
            self.state = LOST
        return False

    async def connect(self, beat) -> None:
        """Return when there is a connection, however long that takes; calls `beat` at least every 5 s."""
        while not self.check():
            self.state = CONNECTING
            try:
                self._station.active(False)
                await asyncio.sleep(0.1)
                self._station.active(True)
                self._station.connect(self._ssid, self._password)
            except OSError as error:
                print("wifi:", error)
            for _ in range(_CONNECT_S * 5):
                beat()
                if self.check():
                    return
                await asyncio.sleep(0.2)
            self._station.active(False)
            beat()
            await asyncio.sleep(_PAUSE_S)

    def address(self) -> str:
        """Return the station's IP address."""
        return self._station.ifconfig()[0]

    def rssi_dbm(self) -> int:
        """Return the strength of the access point's signal, 0 when it cannot be read."""
        try:
            return self._station.status("rssi")
        except (OSError, ValueError, TypeError):
            return 0

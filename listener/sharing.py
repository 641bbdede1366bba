"""Several listeners at one prefix: who takes what, and what keeps their points apart.

`$share/<group>/<filter>` gives each message to one subscriber of the group. Only
readings are shared: of a status, a pin or other firmware's state a listener must
see every message to know what changed, so those go to one listener that leaves
the readings to the others. Pure.

Source: MQTT 5, section 4.8.2 (shared subscriptions); mosquitto offers them to 3.1.1 clients, too
"""

import re
import socket
import zlib
from dataclasses import dataclass

from service.errors import SettingsError
from service.settings import setting

__all__ = ["Share", "SharingSettings", "share"]

_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,32}")
SLOTS = 20


@dataclass(frozen=True, kw_only=True)
class SharingSettings:
    """How several listeners divide the work."""

    shared: bool = setting(False, "Take a share of the readings, beside other listeners that do; and nothing else.")
    instance: str = setting("", "Name of a listener that shares: its own, kept over restarts; empty: host name.")
    takes_readings: bool = setting(True, "false: all but readings, for the one listener beside those that share.")


@dataclass(frozen=True)
class Share:
    """What a listener does of the whole.

    Attributes:
        name: the service's part of its client id.
        group: of its shared subscriptions, "" for none.
        readings: whether it takes readings.
        others: whether it takes all else.
        slot: 0 to SLOTS - 1; tells apart samples of a device without a number that share a time, see `Stamps`.
    """

    name: str = "listener"
    group: str = ""
    readings: bool = True
    others: bool = True
    slot: int = 0

    def filters(self, readings: list[str], others: list[str]) -> list[str]:
        """Return what to subscribe to, of all filters."""
        mine = [f"$share/{self.group}/{one}" for one in readings] if self.group else readings
        return mine * self.readings + others * self.others


def share(settings: SharingSettings) -> Share:
    """Return what a listener does.

    Raises:
        SettingsError: the settings contradict one another, or the name does not go into a client id.
    """
    if not settings.shared:
        return Share(readings=settings.takes_readings)
    if not settings.takes_readings:
        raise SettingsError("takes_readings: false does not go with shared, which takes readings only")
    instance = settings.instance or socket.gethostname()
    if not _INSTANCE.fullmatch(instance):
        raise SettingsError(f"instance: {instance!r} is not 1 to 32 of A-Z a-z 0-9 . _ -")
    number = re.search(r"\d+$", instance)
    slot = int(number.group()) if number else zlib.crc32(instance.encode())
    return Share(f"listener-{instance}", "listener", True, False, slot % SLOTS)

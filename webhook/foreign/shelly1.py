"""Shelly Gen1: `<topic>/relay/<n>/command` with on or off, read back from `<topic>/relay/<n>`.

MQTT starts no timer here (HTTP does): the dead man's switch is the relay's own
setting "Auto off", which each renewal's `on` may wind up. The documentation does
not say so: were it otherwise, the relay would go off while it is wanted, say so,
and be switched on again. `overpower` means that the device switched it off.

Source: Shelly Gen1 device API, "MQTT" (relay/<n>/command takes on, off, toggle) and
"/settings/relay" (auto_off).
"""

from collections.abc import Mapping, Sequence

from webhook.foreign.model import Firmware, Heard, Message, Parse, Pin, Read, pin_reader, switched
from webhook.foreign.values import text_of, whole

__all__ = ["DEFAULTS", "PIN_KEYS", "build"]

PIN_KEYS: dict[str, Parse] = {"relay": whole(0, 7)}
DEFAULTS = {"relay": "0"}


def build(_name: str, topic: str, pins: Mapping[str, Pin]) -> Firmware:
    """Return how to talk with the device at `topic`: shellies/<model>-<id>."""

    def command(pin: str, value: float, _ttl_s: int) -> Sequence[Message]:
        return (Message(f"{topic}/relay/{pins[pin].where['relay']}/command", b"on" if value else b"off"),)

    reads: dict[str, Read] = {f"{topic}/online": online}
    for pin, one in pins.items():
        reads[f"{topic}/relay/{one.where['relay']}"] = pin_reader(pin, _state)
    update = Message(f"{topic}/command", b"update")  # publish everything
    writes = (update.topic, *(f"{topic}/relay/{one.where['relay']}/command" for one in pins.values()))
    return Firmware(command, writes, reads, (update,))


def _state(payload: bytes) -> float:
    word = text_of(payload)
    return 0 if word == "overpower" else switched(word)


def online(payload: bytes) -> Sequence[Heard]:
    """Return what `<topic>/online` says; the second generation says it the same way.

    Raises:
        ValueError: it is not true or false.
    """
    word = text_of(payload)
    if word not in ("true", "false"):
        raise ValueError(f"{word[:40]!r} is not true or false")
    return [Heard(online=word == "true")]

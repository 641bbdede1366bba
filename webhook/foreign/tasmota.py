"""Tasmota: `cmnd/<topic>/POWER<n>` with ON or OFF, read back from `stat/` and `tele/`.

Never retained: Tasmota's documentation warns that a retained command comes back
at every connect and overrides PowerOnState. PulseTime<n> is the dead man's
switch: a relay goes off by itself, and every ON starts the time anew. It is a
lasting setting of the relay: it also ends what a hand at the button began.
PulseTime and POWER are two messages, not one Backlog, which would still be at
work when an OFF overtakes it.

Source: Tasmota documentation, "MQTT" and "Commands" (Power, PulseTime).
"""

from collections.abc import Mapping, Sequence

from webhook.foreign.model import Firmware, Heard, Message, Parse, Pin, Read, pin_reader, switched
from webhook.foreign.values import json_object, text_of, whole

__all__ = ["DEAD_MAN", "DEFAULTS", "PIN_KEYS", "build"]

PIN_KEYS: dict[str, Parse] = {"relay": whole(1, 32)}
DEFAULTS = {"relay": "1"}
DEAD_MAN = True

_LONGEST_PULSE = 64900


def build(_name: str, topic: str, pins: Mapping[str, Pin]) -> Firmware:
    """Return how to talk with the device whose Topic is `topic`, with the default FullTopic."""
    commands = {pin: f"cmnd/{topic}/POWER{one.where['relay']}" for pin, one in pins.items()}
    timers = {pin: f"cmnd/{topic}/PulseTime{one.where['relay']}" for pin, one in pins.items() if one.dead_man}
    # A device with one relay leaves its number out.
    words = {f"POWER{one.where['relay']}": pin for pin, one in pins.items()}
    if "POWER1" in words:
        words["POWER"] = words["POWER1"]

    def command(pin: str, value: float, ttl_s: int) -> Sequence[Message]:
        power = Message(commands[pin], b"ON" if value else b"OFF")
        if not value or pin not in timers:
            return (power,)
        return (Message(timers[pin], str(_pulse(ttl_s)).encode()), power)

    def result(payload: bytes) -> Sequence[Heard]:
        found = json_object(payload)
        return [Heard(words[word], switched(str(found[word]))) for word in words if word in found]

    reads: dict[str, Read] = {
        f"stat/{topic}/RESULT": result,
        f"tele/{topic}/STATE": result,
        f"tele/{topic}/LWT": _presence,
    }
    for word, pin in words.items():
        reads[f"stat/{topic}/{word}"] = pin_reader(pin, lambda payload: switched(text_of(payload)))
    queries = tuple(Message(one, b"") for one in commands.values())
    return Firmware(command, (*commands.values(), *timers.values()), reads, queries)


def _pulse(ttl_s: int) -> int:
    """Return PulseTime for a lease: 1 to 111 are tenths of a second, from 112 on seconds and 100."""
    return ttl_s * 10 if ttl_s < 12 else min(ttl_s + 100, _LONGEST_PULSE)


def _presence(payload: bytes) -> Sequence[Heard]:
    word = text_of(payload)
    if word not in ("Online", "Offline"):
        raise ValueError(f"{word[:40]!r} is not Online or Offline")
    return [Heard(online=word == "Online")]

"""Tasmota: `cmnd/<topic>/POWER<n>` with ON or OFF, read back from `stat/` and `tele/`.

Never retained: Tasmota's documentation warns that a retained command comes back
at every connect and overrides PowerOnState. PulseTime<n> is the dead man's
switch: a relay goes off by itself, and every ON starts the time anew, also of a
relay that is on. It is a lasting setting of the relay: it also ends what a hand
at the button began, and what PowerOnState switches on after a power cut.
PulseTime and POWER are two messages, not one Backlog, which would still be at
work when an OFF overtakes it.

What the relays are is asked with STATE: up to version 9 and later, POWER without
a payload ended the running PulseTime, and the relay stayed on for ever.

Sources: Tasmota documentation, "MQTT" and "Commands" (Power, PulseTime, State);
arendst/Tasmota, support_tasmota.ino (ExecuteCommandPower: "Restart PulseTime if
powered On"), issues 12323 (a repeated ON restarts it) and 9325 (a question ends it).
"""

from collections.abc import Mapping, Sequence

from webhook.foreign.model import Firmware, Heard, Message, Parse, Pin, Read, pin_reader, switched
from webhook.foreign.values import json_object, text_of, whole

__all__ = ["DEFAULTS", "PIN_KEYS", "build"]

PIN_KEYS: dict[str, Parse] = {"relay": whole(1, 32)}
DEFAULTS = {"relay": "1"}

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
        f"stat/{topic}/STATE": result,  # with SetOption4 answers have a topic of their own
        f"tele/{topic}/STATE": result,
        f"tele/{topic}/LWT": _presence,
    }
    for word, pin in words.items():
        reads[f"stat/{topic}/{word}"] = pin_reader(pin, lambda payload: switched(text_of(payload)))
    query = Message(f"cmnd/{topic}/STATE", b"")
    return Firmware(command, (*commands.values(), *timers.values(), query.topic), reads, (query,))


def _pulse(ttl_s: int) -> int:
    """Return PulseTime for a lease: 1 to 111 are tenths of a second, from 112 on seconds and 100."""
    return ttl_s * 10 if ttl_s < 12 else min(ttl_s + 100, _LONGEST_PULSE)


def _presence(payload: bytes) -> Sequence[Heard]:
    word = text_of(payload)
    if word not in ("Online", "Offline"):
        raise ValueError(f"{word[:40]!r} is not Online or Offline")
    return [Heard(online=word == "Online")]

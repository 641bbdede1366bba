"""A device of other firmware on Pinloop's side of the broker: it behaves as ours do.

Keeps leases, the order of `seq`, safe values and states for a firmware that
knows none of them. Pure: messages and time in, messages out.

What a state says (`why`):

    command    the pin is what the standing command asks; or a release was sent and is not seen yet
    released   nothing is asked, and the pin is at its safe value; `expired`: because a lease ended
    local      somebody else switched it. While a command stands its seq is then 0, so the webhook asks again; without
               one it is left alone: a lamp that a person switched on is no business of ours (but for the first
               seconds after a claim, in which it may be a report that comes late)
"""

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from contract.commands import COMMAND, EXPIRED, LOCAL, RELEASED, Command, State, decode_command
from contract.payloads import encode
from contract.presence import OFFLINE, ONLINE
from contract.topics import INFO, PIN_STATE, STATUS, Topics
from webhook.foreign.model import Device, Heard, Message

__all__ = ["Twin"]

# A report may be older than the command for off that was lost: one of another value that comes so soon after it is no
# hand at the button.
_AFTERMATH_S = 30.0
# A device that is there, was told to be safe, and said last that it is: some say nothing when told what they are
# already. By then a broker has noticed that a link is dead, and the device has been told again (1.5 keepalives: MQTT
# 3.1.1 section 3.1.2.10; the firmwares keep to 15 to 60 s).
_BELIEVED_S = 120.0


@dataclass(slots=True)
class _Held:
    """What is known of a pin.

    Attributes:
        command: the one that stands.
        until_s: when its lease ends, in the seconds of the caller's clock; inf without one.
        engaged: a command of ours may still hold it: a report of the safe value after its end says otherwise, or long
            silence of one that was safe already.
        reported: what the device said last; None: nothing since the connection stands.
        followed: the greatest seq that the device is known to have followed.
        expired: the last command ended with its lease.
        told: the state that was published last.
        asked: something came on its `set` since the connection stands.
        freed_s: when `engaged` ended, in the seconds of the caller's clock.
        ended: the last word on it was that nothing is asked any more.
        released_s: when the safe value was sent for that, in the seconds of the caller's clock; inf: not since the
            connection stands.
    """

    engaged: bool
    command: Command | None = None
    until_s: float = math.inf
    reported: float | None = None
    followed: int = 0
    expired: bool = False
    told: bytes = b""
    asked: bool = False
    freed_s: float = -math.inf
    ended: bool = False
    released_s: float = math.inf


class Twin:
    """Stands in for one device.

    Args:
        ended_s: pin -> when the end of what an earlier process commanded was reported, in the seconds of the caller's
            clock; inf: it may still hold the pin; -inf, or missing: nothing was commanded.
        now_s: of that clock.

    Attributes:
        online: whether the device is there, or thought to be.
    """

    def __init__(self, device: Device, topics: Topics, ended_s: Mapping[str, float] = {}, now_s: float = 0.0) -> None:
        self.device = device
        self.online = device.firmware.presumed_online
        self._topics = topics
        self._now_s = now_s
        before = {name: ended_s.get(name, -math.inf) for name in device.pins}
        self._pins = {
            name: _Held(at_s == math.inf, freed_s=at_s, ended=at_s < math.inf) for name, at_s in before.items()
        }

    def forget(self, lost: Container[str] = ()) -> None:
        """Forget what the device reported: the connection is new, and it may have changed meanwhile.

        Args:
            lost: topics whose last message the broker may not have taken: what was assumed then is not so.
        """
        self.online = self.device.firmware.presumed_online
        for name, held in self._pins.items():
            if name not in self.device.firmware.assumed:
                held.reported = None
            elif any(one.topic in lost for one in self.device.firmware.command(name, self.device.pins[name].safe, 0)):
                held.reported, held.engaged = None, True
            held.told = b""
            held.asked = False
            held.released_s = math.inf

    def settle(self) -> list[Message]:
        """Return what releases the pins whose end nobody saw: it was asked while there was no connection.

        Called some seconds after `greet`: by then what stands has come, retained or anew, and what did not come ended.
        """
        return [
            message
            for pin, held in self._pins.items()
            if held.engaged and not held.asked
            for message in self._release(pin, held, expired=False)
        ]

    def greet(self) -> list[Message]:
        """Return what a device says when it connects; the webhook answers an info with every command that stands."""
        states = [message for pin in self._pins for message in self._state(pin)]
        return [self._status(), self._info(), *states, *self.device.firmware.queries]

    def asked(self, pin: str, payload: bytes, retained: bool, now_s: float) -> list[Message]:
        """Take a message on the pin's `set`.

        A retained one switches nothing: nobody knows how old it is, and the webhook sends what still holds. But nothing
        lasts longer than its lease would from now on.

        Raises:
            ContractError: the payload is no command.
        """
        self._now_s = now_s
        held = self._pins.get(pin)
        if held is None:
            return []
        command = decode_command(payload)
        held.asked = True
        if retained:
            held.ended = False
            if command is not None:
                held.engaged, held.until_s = True, min(held.until_s, now_s + command.ttl_s)
            return []
        if command is None:
            return self._release(pin, held, expired=False)
        old = held.command
        if old and old.epoch == command.epoch and command.seq < old.seq:
            return []
        held.command, held.until_s, held.expired, held.ended = command, now_s + command.ttl_s, False, False
        # What asks for the safe value holds nothing: a device that is there already will not report its end.
        held.engaged = held.engaged or command.value != self.device.pins[pin].safe
        renewed = old is not None and old.value == command.value and held.reported == command.value and self.online
        sent: list[Message] = []
        if not renewed or self.device.pins[pin].dead_man:
            sent += self.device.firmware.command(pin, command.value, command.ttl_s)
        self._assume(pin, held, command.value)
        return sent + (self._state(pin) if held.reported == command.value else [])

    def heard(self, topic: str, payload: bytes, retained: bool) -> list[Message]:
        """Take a message of the device.

        Raises:
            ValueError: it is not one that its firmware sends.
        """
        found: list[Message] = []
        for one in self.device.firmware.reads[topic](payload):
            found += self._presence(one, retained) if one.online is not None else self._report(one, retained)
        return found

    def tick(self, now_s: float) -> list[Message]:
        """Return what follows from leases that ended."""
        self._now_s = now_s
        for pin, held in self._pins.items():
            safe = held.engaged and held.command is None and self.online and held.reported == self.device.pins[pin].safe
            if safe and now_s >= held.released_s + _BELIEVED_S:
                held.engaged, held.freed_s = False, held.released_s
        return [
            message
            for pin, held in self._pins.items()
            if now_s >= held.until_s
            for message in self._release(pin, held, expired=True)
        ]

    def _release(self, pin: str, held: _Held, *, expired: bool) -> list[Message]:
        held.command, held.until_s, held.expired, held.ended = None, math.inf, expired, True
        if not held.engaged:
            return self._state(pin)
        safe = self.device.pins[pin].safe
        held.released_s = self._now_s
        sent = list(self.device.firmware.command(pin, safe, 0))
        self._assume(pin, held, safe)
        return sent + (self._state(pin) if held.reported == safe else [])

    def _assume(self, pin: str, held: _Held, value: float) -> None:
        if pin in self.device.firmware.assumed and self.online:
            held.reported = value
            held.engaged = held.command is not None

    def _presence(self, one: Heard, retained: bool) -> list[Message]:
        self.online = bool(one.online)
        if not self.online or retained:
            return [self._status(), *(message for pin in self._pins for message in self._state(pin))]
        for held in self._pins.values():  # it has just connected, perhaps after a restart
            held.told, held.reported = b"", None
        # A release may have been sent while it was away; commands that stand come again, as answers to the greeting.
        ended = [(pin, held) for pin, held in self._pins.items() if held.engaged and held.command is None]
        again = [message for pin, held in ended for message in self._release(pin, held, expired=held.expired)]
        return self.greet() + again

    def _report(self, one: Heard, retained: bool) -> list[Message]:
        held = self._pins[one.pin]
        held.reported = one.value
        again: Iterable[Message] = ()
        # A retained report may be older than a command that was followed, and never reported because the link went.
        if held.command is None and not retained:
            if one.value != self.device.pins[one.pin].safe:
                held.engaged = held.engaged or self._now_s < held.freed_s + _AFTERMATH_S
                if held.ended and held.engaged and self.online:  # an old "off" came late, and was taken for the end
                    again = self.device.firmware.command(one.pin, self.device.pins[one.pin].safe, 0)
            elif held.engaged:
                held.engaged, held.freed_s = False, self._now_s
        if self.online or retained:  # what is retained does not say that the device is still there
            return [*again, *self._state(one.pin)]
        self.online = True
        return [self._status(), *self._state(one.pin)]

    def _state(self, pin: str) -> list[Message]:
        held = self._pins[pin]
        if held.reported is None or not self.online:
            return []
        payload = self._stated(pin, held, held.reported).encode()
        if payload == held.told:
            return []
        held.told = payload
        return [Message(self._topics.build(PIN_STATE, self.device.name, pin), payload, retain=True)]

    def _stated(self, pin: str, held: _Held, value: float) -> State:
        if held.command:
            if value != held.command.value:
                return State(value, 0, LOCAL)
            held.followed = held.command.seq
            return State(value, held.followed, COMMAND)
        if value == self.device.pins[pin].safe:
            return State(value, held.followed, EXPIRED if held.expired else RELEASED)
        return State(value, held.followed, COMMAND if held.engaged else LOCAL)

    def _status(self) -> Message:
        word = ONLINE if self.online else OFFLINE
        return Message(self._topics.build(STATUS, self.device.name), word.encode(), retain=True)

    def _info(self) -> Message:
        pins: dict[str, object] = {}
        for name, pin in self.device.pins.items():
            declared: dict[str, object] = {"safe": pin.safe, "default": pin.safe, **pin.guards}
            if "payload" not in pin.where:
                declared.update(min=0, max=1)
            if name in self.device.firmware.assumed:
                declared["assumed"] = True
            pins[name] = declared
        info = {"fw": self.device.kind, "sensors": {}, "pins": pins}
        return Message(self._topics.build(INFO, self.device.name), encode(info), retain=True)

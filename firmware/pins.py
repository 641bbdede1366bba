"""Outputs as leases: what a pin is, why, and when that ends.

Pure: the clock is an argument (milliseconds, monotonic) and the hardware is a
function `drive(value)`. A pin is never left on by accident: a command ends with
its lease, with the link, or with the pin's own guards, at its safe value.
"""

from contract.commands import BOOT, COMMAND, EXPIRED, GUARD, LINK_LOST, RELEASED, Command, State
from contract.errors import PayloadError

# What `info` tells of a pin; absent keys are told with these values.
DEFAULTS = {
    "safe": 0, "min": 0, "max": 1, "link_lost_s": 60, "hold": False, "min_on_s": 0, "min_off_s": 0, "max_on_s": 0,
}  # fmt: skip


def refused(pins: dict) -> str:
    """Return what is wrong with the keys of a device's pins, "" when nothing is.

    A guard that is misspelt, or that this firmware does not know, would protect nothing and say nothing.
    """
    keys = list(DEFAULTS) + "gpio boot default pwm_hz active_low trust_retained set_topic map".split()
    for name, config in pins.items():
        for key in config:
            if key not in keys:
                nearest = max(keys, key=lambda known: len(set(known) & set(key)) - abs(len(known) - len(key)))
                return "pins." + name + "." + key + ": this firmware has no such key; the nearest is " + nearest
    return ""


def keepalive_s(wanted_s: int, pins: dict) -> int:
    """Return `wanted_s`, or what the strictest pin allows: a silent link is noticed within a keepalive."""
    for pin in pins.values():
        if not pin.get("hold"):
            wanted_s = min(wanted_s, max(1, int(pin.get("link_lost_s", DEFAULTS["link_lost_s"]))))
    return wanted_s


class Output:
    """One output pin.

    Args:
        name: the pin's name.
        config: gpio, safe, boot and default (both: safe), min, max, link_lost_s (60), hold, trust_retained,
            min_on_s, min_off_s, max_on_s (0: none); durations in seconds.
        drive: sets the hardware to a value.
        now_ms: the clock, now.

    Attributes:
        value: what the hardware was set to.
        seq: of the command that was followed last.
    """

    def __init__(self, name: str, config: dict, drive, now_ms: int) -> None:
        limits = dict(DEFAULTS)
        limits.update(config)
        self.name = name
        self.limits = limits
        limits.setdefault("boot", limits["safe"])
        limits.setdefault("default", limits["safe"])
        self._drive = drive
        self._epoch = ""
        self._until_ms = None  # the end of the lease
        self._tripped = False  # max_on_s has switched it off: it stays off until somebody asks for that
        self._since_ms = now_ms  # of the last switch between on (not 0) and off
        self._wanted = self.value = limits["boot"]
        self._why = BOOT
        self.seq = 0
        drive(self.value)

    def state(self) -> State:
        """Return what the pin is; `guard` while a guard keeps it from what is wanted."""
        return State(self.value, self.seq, self._why if self.value == self._wanted else GUARD)

    def is_kept(self) -> bool:
        """Tell whether the pin holds a value that a restart would end."""
        return bool(self.limits["hold"]) and self.value != self.limits["boot"]

    def command(self, command: Command, retained: bool, now_ms: int) -> bool:
        """Follow a command; return whether there is a state to report.

        1. An old one (same epoch, `seq` not greater) is ignored.
        2. A retained one is of unknown age: it counts at once only when it asks for the safe value.
        3. Its lease begins now; a pin with `hold` keeps the value without one.
        4. A forced one does not wait for min_on_s and min_off_s, if it asks for the safe value.

        Raises:
            PayloadError: the value is outside the pin's range.
        """
        limits = self.limits
        if not limits["min"] <= command.value <= limits["max"] or (
            "pwm_hz" not in limits and command.value not in (0, 1)
        ):
            raise PayloadError("command.v", command.value, "is outside the range of pin " + self.name, "range")
        if command.seq and command.epoch == self._epoch and command.seq <= self.seq:
            return False
        if retained and command.value != limits["safe"] and not limits.get("trust_retained"):
            return False
        if not command.value:
            self._tripped = False
        self.seq = command.seq
        self._epoch = command.epoch
        if not self._tripped:
            self._want(command.value, COMMAND, now_ms, command.force and command.value == limits["safe"])
            self._until_ms = None if limits["hold"] else now_ms + command.ttl_s * 1000
        return True

    def release(self, now_ms: int) -> bool:
        """Go to the default: nobody wants anything; return whether there is a state to report.

        While min_on_s holds the pin on, the lease goes on: it and the link end that, as if nobody had released it.
        """
        self._tripped = False
        until_ms = self._until_ms
        told = self._want(self.limits["default"], RELEASED, now_ms)
        if self.value not in (self._wanted, self.limits["safe"]):
            self._until_ms = until_ms
        return told

    def tick(self, now_ms: int, link_down_s: float) -> bool:
        """Let time pass (`link_down_s`: since when there is no broker, 0 with one); return whether to report."""
        limits = self.limits
        before = (self.value, self._why, self._wanted)
        if self._until_ms is not None and now_ms >= self._until_ms:
            self._want(limits["safe"], EXPIRED, now_ms)
        elif 0 < link_down_s >= limits["link_lost_s"] and not limits["hold"]:
            if self._until_ms is not None or self._wanted != limits["safe"]:
                self._want(limits["safe"], LINK_LOST, now_ms)
        if limits["max_on_s"] and self.value and now_ms - self._since_ms >= limits["max_on_s"] * 1000:
            self._tripped = True
            self._want(limits["safe"], GUARD, now_ms)
        self._settle(now_ms)
        return before != (self.value, self._why, self._wanted)

    def _want(self, value: float, why: str, now_ms: int, force: bool = False) -> bool:
        before = (self._wanted, self._why)
        self._wanted = value
        self._why = why
        self._until_ms = None
        self._settle(now_ms, force)
        return before != (value, why)

    def _settle(self, now_ms: int, force: bool = False) -> None:
        """Set the hardware to what is wanted, unless a guard lets it wait; nothing delays a safety reason."""
        if self.value == self._wanted:
            return
        if not force and self._why in (COMMAND, RELEASED) and bool(self.value) != bool(self._wanted):
            least_s = self.limits["min_on_s" if self.value else "min_off_s"]
            if now_ms - self._since_ms < least_s * 1000:
                return
        if bool(self.value) != bool(self._wanted):
            self._since_ms = now_ms
        self._drive(self._wanted)
        self.value = self._wanted
        if self._why == RELEASED:
            self._until_ms = None  # until then it bounds min_on_s

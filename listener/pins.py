"""Pins: what they are told, what they report, and when that changed.

Every message becomes a `pins` point, where `commanded` tells whether the last
`desired` stands (1) or is released (0); only a change becomes an `actuations`
point, the annotation that says who did it. Renewals change nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from contract.commands import COMMAND, Command, State
from contract.topics import is_name
from store.points import ACTUATIONS, PINS, Point

__all__ = ["Pins"]

_UNKNOWN = object()


@dataclass(slots=True)
class _Pin:
    desired: object = _UNKNOWN  # a value, None when released
    reported: object = _UNKNOWN
    command: Command | None = None
    told_ns: int | None = None  # when `desired` changed, until the pin reports that it followed


class Pins:
    """Remembers the last value of each pin; used by one thread."""

    def __init__(self) -> None:
        self._pins: dict[tuple[str, str], _Pin] = {}

    def learn_desired(self, device: str, pin: str, command: Command | None) -> bool:
        """Note what a pin is told; return whether that changed."""
        known = self._pins.setdefault((device, pin), _Pin())
        value = None if command is None else command.value
        changed = value != known.desired
        known.desired, known.command = value, command
        if changed:
            known.told_ns = None
        return changed

    def learn_reported(self, device: str, pin: str, state: State) -> bool:
        """Note what a pin reports; return whether that changed."""
        known = self._pins.setdefault((device, pin), _Pin())
        changed = state.value != known.reported
        known.reported = state.value
        return changed

    def desired(self, device: str, pin: str, command: Command | None, ts_ns: int) -> Iterator[Point]:
        """Return the points for a command (None: released) that came just now."""
        changed = self.learn_desired(device, pin, command)
        tags = (("device", device), ("pin", pin))
        told = {"desired": command.value, "commanded": 1.0} if command else {"commanded": 0.0}
        yield Point(PINS, tags, told, ts_ns)
        if changed:
            self._pins[device, pin].told_ns = ts_ns
            slot, source = _by(command) if command else ("none", "released")
            value = {"value": command.value} if command else {}
            yield Point(ACTUATIONS, (*tags, ("slot", slot)), {**value, "source": source, "event": "desired"}, ts_ns)

    def reported(self, device: str, pin: str, state: State, ts_ns: int) -> Iterator[Point]:
        """Return the points for a state that came just now."""
        changed = self.learn_reported(device, pin, state)
        tags = (("device", device), ("pin", pin))
        yield Point(PINS, tags, {"reported": state.value}, ts_ns)
        if changed:
            known = self._pins[device, pin]
            command = known.command
            followed = state.why == COMMAND and command is not None and command.seq == state.seq
            slot, source = _by(command) if followed and command else ("device", state.why)
            fields: dict[str, float | str] = {"value": state.value, "source": source, "event": "reported"}
            if followed and known.told_ns is not None:
                # Once for each change: a device that follows the same command again after a restart is not slow.
                fields["took_s"] = (ts_ns - known.told_ns) / 1e9
                known.told_ns = None
            yield Point(ACTUATIONS, (*tags, ("slot", slot)), fields, ts_ns)


def _by(command: Command) -> tuple[str, str]:
    """Return slot and source of a command whose `by` reads "<slot> <source>".

    The slot becomes a tag: what is no name goes to the source, so that free text cannot make series without end.
    """
    slot, _, source = command.by.partition(" ")
    return (slot, source) if is_name(slot) else ("other", command.by)

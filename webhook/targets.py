"""The label `actuate`: which pins an alert claims, and with which values.

    actuate: lights/red=1,lights/green=0

Nothing outside the contract's grammar for devices, pins and numbers passes, so
that no label can name a topic of its own.
"""

from dataclasses import dataclass

from contract.errors import ContractError
from contract.payloads import bare_number
from contract.topics import check_device, check_name

__all__ = ["MAX_TARGETS", "Target", "parse_targets"]

# One alert that switches more than a cabinet's worth of relays is a mistake in a template.
MAX_TARGETS = 64


@dataclass(frozen=True, slots=True)
class Target:
    """A pin and the value that is asked of it."""

    device: str
    pin: str
    value: float

    def __str__(self) -> str:
        return f"{self.device}/{self.pin}={self.value:g}"


def parse_targets(text: str, key: str = "actuate") -> list[Target]:
    """Return the targets in `device/pin=value,device/pin=value`; spaces around the parts are allowed.

    Raises:
        ContractError: empty, too many, a part outside the grammar, or a pin that is named twice.
    """
    parts = text.split(",")
    if len(parts) > MAX_TARGETS:
        raise ContractError(key, text, f"names more than {MAX_TARGETS} pins", "targets")
    targets = [_target(part.strip(), key) for part in parts]
    pins = {(target.device, target.pin) for target in targets}
    if len(pins) != len(targets):
        raise ContractError(key, text, "names a pin twice", "targets")
    return targets


def _target(part: str, key: str) -> Target:
    device, slash, rest = part.partition("/")
    pin, equals, value = rest.partition("=")
    if not slash or not equals:
        raise ContractError(key, part, "is not device/pin=value", "targets")
    return Target(check_device(device.strip(), key), check_name(pin.strip(), key), bare_number(value.strip(), key))

"""Targets: which pins an alert claims, and with which values.

    actuate: lights/red=1,lights/green=0          the label
    targets: ["{device}/fan=1"]                   a route, with the alert's label `device`

Nothing outside the contract's grammar for devices, pins and numbers passes, so
that no label can name a topic of its own. A template is cut into its parts first
and each part is checked after its labels were put in: a value with a slash or a
comma in it is refused, and never moves a border.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from contract.errors import ContractError
from contract.payloads import bare_number
from contract.topics import check_device, check_name

__all__ = ["MAX_TARGETS", "Target", "Template", "parse_targets", "parse_template"]

# One alert that switches more than a cabinet's worth of relays is a mistake in a template.
MAX_TARGETS = 64

_LABEL = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """A pin and the value that is asked of it."""

    device: str
    pin: str
    value: float

    def __str__(self) -> str:
        return f"{self.device}/{self.pin}={self.value:g}"


@dataclass(frozen=True, slots=True)
class Template:
    """A target whose parts may hold labels in braces."""

    device: str
    pin: str
    value: str

    def fill(self, labels: Mapping[str, str], key: str = "targets") -> Target:
        """Return the target for an alert with these labels.

        Raises:
            ContractError: a label is missing, or what comes out is outside the grammar.
        """

        def put(part: str) -> str:
            for name in _LABEL.findall(part):
                if name not in labels:
                    raise ContractError(key, str(self), f"needs the label {name}, which the alert has not", "targets")
            return _LABEL.sub(lambda found: labels[found[1]], part)

        return _checked(put(self.device), put(self.pin), put(self.value), key)

    def __str__(self) -> str:
        return f"{self.device}/{self.pin}={self.value}"


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


def parse_template(text: str, key: str = "targets") -> Template:
    """Return the template in `device/pin=value`, whose parts may hold `{label}`.

    Raises:
        ContractError: it could never come out within the grammar.
    """
    device, pin, value = _parts(text.strip(), key)
    # What stands around the labels must be within the grammar, or every alert would be refused.
    _checked(_LABEL.sub("a", device), _LABEL.sub("a", pin), _LABEL.sub("1", value), key)
    return Template(device, pin, value)


def _parts(part: str, key: str) -> tuple[str, str, str]:
    device, slash, rest = part.partition("/")
    pin, equals, value = rest.partition("=")
    if not slash or not equals:
        raise ContractError(key, part, "is not device/pin=value", "targets")
    return device.strip(), pin.strip(), value.strip()


def _target(part: str, key: str) -> Target:
    return _checked(*_parts(part, key), key)


def _checked(device: str, pin: str, value: str, key: str) -> Target:
    return Target(check_device(device, key), check_name(pin, key), bare_number(value, key))

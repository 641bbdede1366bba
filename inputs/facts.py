"""Facts: what a message says, whoever's firmware sent it."""

from collections.abc import Mapping
from dataclasses import dataclass

from contract.readings import Sample

__all__ = ["IGNORED_REASONS", "About", "Fact", "Ignored", "Readings", "Refused", "Status"]

# Closed: a counter's label.
IGNORED_REASONS = ("text", "null", "number", "collision", "deep", "unit", "status")


@dataclass(frozen=True, slots=True)
class Readings:
    """Samples of one device, in their order."""

    device: str
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class Status:
    """A device came, went, or sleeps: one of contract.presence.STATUSES."""

    device: str
    status: str


@dataclass(frozen=True, slots=True)
class About:
    """Texts about a device that seldom change: a version, a revision."""

    device: str
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refused:
    """A part of a message that cannot be stored, though its other parts can: one line of several, say."""

    message: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A value that is no reading, and no mistake either: a text, a null.

    Attributes:
        what: its path in the message.
        reason: one of IGNORED_REASONS.
    """

    what: str
    reason: str


Fact = Readings | Status | About | Refused | Ignored

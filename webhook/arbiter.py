"""Arbitration: which of the claims on a pin says what it should be.

A pure function of the claims (the field's word for it: a priority array with
relinquish). It never looks at a clock, at what was commanded before, or at the
order in which the claims came.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = [
    "ALERT_SLOTS",
    "HIGH",
    "LOW",
    "MANUAL",
    "NEWEST",
    "PERSON",
    "PREFERENCES",
    "SAFETY",
    "SLOTS",
    "UNKNOWN",
    "Claim",
    "desired",
    "ranked",
]

SAFETY = "safety"
MANUAL = "manual"
ALERT = "alert"
TIMER = "timer"
THRESHOLD = "threshold"
# An alert that ended without saying how ("resolved" because its series is missing): below every real claim.
UNKNOWN = "unknown"
SLOTS = (SAFETY, MANUAL, ALERT, TIMER, THRESHOLD, UNKNOWN)
# What an alert's label `slot` may say: `manual` is for people.
ALERT_SLOTS = (SAFETY, ALERT, TIMER, THRESHOLD)

# The owner of a claim that a person holds; no alert has an empty fingerprint.
PERSON = ""

HIGH = "high"
LOW = "low"
NEWEST = "newest"
PREFERENCES = (HIGH, LOW, NEWEST)

_RANK = {slot: rank for rank, slot in enumerate(SLOTS)}


class Claim(NamedTuple):
    """What one owner wants of one pin.

    Attributes:
        device: the device id.
        pin: the pin's name.
        owner: who holds it, unique per pin: an alert's fingerprint, or PERSON.
        value: the wanted value; None asks for the pin's safe value (slot `unknown`).
        slot: one of SLOTS.
        source: the alert's name or the person, for people.
        since_s: when it began, seconds since 1970.
        until_s: when it ends unless renewed, seconds since 1970; None for never (slot `unknown`).
    """

    device: str
    pin: str
    owner: str
    value: float | None
    slot: str
    source: str
    since_s: float
    until_s: float | None


def _size(claim: Claim) -> float:
    return 0.0 if claim.value is None else claim.value


# The smallest key wins. Each is a total order: within a pin no two claims have the same owner. Of two claims that
# want the same, the older one wins, so that a second alert changes nothing.
_KEYS: dict[str, Callable[[Claim], tuple[Any, ...]]] = {
    HIGH: lambda claim: (_RANK[claim.slot], -_size(claim), claim.since_s, claim.owner),
    LOW: lambda claim: (_RANK[claim.slot], _size(claim), claim.since_s, claim.owner),
    NEWEST: lambda claim: (_RANK[claim.slot], -claim.since_s, -_size(claim), claim.owner),
}


def desired(claims: Iterable[Claim], preference: str = HIGH) -> Claim | None:
    """Return the claim that wins, None when there is none.

    Args:
        claims: the active claims on one pin, in any order.
        preference: one of PREFERENCES, decides within the highest slot that is claimed.
    """
    return min(claims, key=_KEYS[preference], default=None)


def ranked(claims: Iterable[Claim], preference: str = HIGH) -> list[Claim]:
    """Return the claims in the order in which they would win if those before them ended."""
    return sorted(claims, key=_KEYS[preference])

"""Shapes: what the API's objects hold, as types from which the OpenAPI document takes its schemas.

Times are seconds since 1970. Handlers build plain dicts; tests/webhook/test_openapi.py holds them to these.
"""

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

__all__ = [
    "AlertList",
    "ChangeList",
    "ClaimList",
    "Pin",
    "PinList",
    "Taken",
    "Why",
]

Seconds = Annotated[float, Meta(description="Seconds since 1970.")]
UntilSeconds = Annotated[
    float | None, Meta(description="Seconds since 1970; null: no end, of a wish for the safe value.")
]


class Result(TypedDict):
    """What became of one alert."""

    fingerprint: str
    outcome: Literal["claimed", "renewed", "withdrawn", "unknown", "duplicate", "stale", "ignored"]
    targets: list[str]
    reason: str


class Taken(TypedDict):
    """The answer to POST /alert."""

    ok: bool
    results: list[Result]
    published: Annotated[int, Meta(description="Commands that the broker has acknowledged.", ge=0)]
    note: NotRequired[Annotated[str, Meta(description="When that is not all of them.")]]


class Alert(TypedDict):
    """An alert and what became of it."""

    fingerprint: str
    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: Seconds
    since_s: Seconds
    seen_s: Seconds
    status: Literal["firing", "resolved", "unknown", "expired"]
    targets: list[str]
    outcome: str
    reason: str


class AlertList(TypedDict):
    """The answer to GET /alerts."""

    alerts: list[Alert]


class Claim(TypedDict):
    """A claim on a pin."""

    device: str
    pin: str
    value: Annotated[float | None, Meta(description="null: the safe value, of a device that has not said it.")]
    slot: str
    source: str
    by: str
    fingerprint: Annotated[str, Meta(description="Of the alert; of a person's claim a fixed word.")]
    since_s: Seconds
    until_s: UntilSeconds


class ClaimList(TypedDict):
    """The answer to GET /claims."""

    claims: list[Claim]


class Desired(TypedDict):
    """The claim that wins."""

    value: float | None
    slot: str
    source: str
    since_s: Seconds
    until_s: UntilSeconds


class Command(TypedDict):
    """The command that stands at the pin."""

    value: Annotated[float | None, Meta(description="null: released.")]
    seq: int
    at_s: Seconds
    acked_at_s: Seconds | None


class Reported(TypedDict):
    """What the device said last."""

    value: float
    seq: int | None
    why: str
    at_s: Seconds


class Held(TypedDict):
    """A wish that a guard holds back."""

    by: Annotated[str, Meta(description="The guard: min_on_s, max_on_s, exclusive_with, ...")]
    wanted: Annotated[float | None, Meta(description="null: the release.")]
    slot: str
    source: str
    since_s: Seconds
    until_s: Annotated[float | None, Meta(description="When it passes by itself; null: not a matter of time.")]


class Pin(TypedDict):
    """What is known of a pin."""

    device: str
    pin: str
    desired: Desired | None
    command: Command | None
    reported: Reported | None
    drift_s: Annotated[float | None, Meta(description="How long it has not followed; null unless that is drift.")]
    quarantine: Annotated[str | None, Meta(description="Why nothing is sent to it for a while.")]
    held: Held | None
    dry_run: Annotated[bool, Meta(description="Commands are decided and not sent.")]


class PinList(TypedDict):
    """The answer to GET /pins."""

    pins: list[Pin]


class Change(TypedDict):
    """A change of a pin's command, or one that was held back."""

    id: int
    device: str
    pin: str
    at_s: Seconds
    value: float | None
    slot: str
    source: str
    reason: str
    seq: int
    held_by: Annotated[str | None, Meta(description="The guard that held it back; null: it was made.")]
    dry_run: Annotated[bool, Meta(description="Decided and not sent.")]
    acked_at_s: Seconds | None
    reported_at_s: Seconds | None


class ChangeList(TypedDict):
    """A page of the log, the oldest change first."""

    changes: list[Change]
    next: Annotated[int | None, Meta(description="What the next page comes after; null: there is none.")]


class Why(Pin):
    """The answer to "why is this pin on?"."""

    text: str
    claims: list[Claim]
    changes: list[Change]

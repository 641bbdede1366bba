"""Routes of pins: what they are, why, and what a person asks of them."""

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from flask import request

from contract.topics import check_device, check_name
from webhook.access.guard import caller
from webhook.access.scopes import ACTUATE, READ
from webhook.api import bodies, shapes
from webhook.api.operations import Operations
from webhook.arbiter import PERSON, SAFETY, Claim
from webhook.claims import Claims
from webhook.commands import Pin, PinCommand
from webhook.facts import Facts
from webhook.manual import MAX_PERSON_CHARS, decode_claim, person
from webhook.observed import Observed
from webhook.problems import Refusal
from webhook.publisher import Publisher
from webhook.reconcile import Reconciler

__all__ = ["pin_operations"]

_OF_A_PIN = (404, 503)
_RELEASE = {
    "by": {
        "description": "Who asks, for people and for the log; without it `operator`. A token's name is added.",
        "schema": {"type": "string", "maxLength": MAX_PERSON_CHARS},
    }
}


def pin_operations(
    claims: Claims, facts: Facts, observed: Observed, sender: Publisher, reconciler: Reconciler
) -> Operations:
    """Return the routes of pins."""
    api = Operations()

    @api.operation("GET", "/claims", scope=READ, answer=shapes.ClaimList)
    def get_claims() -> dict[str, Any]:
        """List the active claims."""
        return {"claims": facts.claims()}

    @api.operation("GET", "/pins", scope=READ, answer=shapes.PinList)
    def get_pins() -> dict[str, Any]:
        """List every pin: desired, command, reported."""
        return {"pins": facts.pins(time.time())}

    @api.operation("GET", "/pins/{device}/{pin}", scope=READ, answer=shapes.Pin, refuses=_OF_A_PIN)
    def get_pin(device: str, pin: str) -> dict[str, Any]:
        """Show a pin."""
        return facts.pin(known(device, pin), time.time())

    @api.operation("GET", "/pins/{device}/{pin}/why", scope=READ, answer=shapes.Why, refuses=_OF_A_PIN)
    def get_why(device: str, pin: str) -> dict[str, Any]:
        """Say why a pin is what it is: a sentence, its claims and its last ten changes."""
        return facts.why(known(device, pin), time.time())

    @api.operation(
        "PUT",
        "/pins/{device}/{pin}",
        scope=ACTUATE,
        body=bodies.MANUAL_CLAIM,
        answer=shapes.Pin,
        refuses=(400, 409, 413, *_OF_A_PIN),
    )
    def put_pin(device: str, pin: str) -> dict[str, Any]:
        """Put a person's claim on a pin, for a time that ends."""
        which, now_s = known(device, pin), time.time()
        declared = observed.pins.get(device, {}).get(pin, {})
        claim = decode_claim(request.get_data(cache=False), which, declared, now_s, _token())

        def hold() -> list[PinCommand]:
            _look_at_safety(claims.of(which), claim)
            return claims.hold(claim, now_s)

        sender.carry_out(hold)
        return facts.pin(which, time.time())

    @api.operation(
        "DELETE",
        "/pins/{device}/{pin}",
        scope=ACTUATE,
        answer=shapes.Pin,
        query=_RELEASE,
        refuses=(400, *_OF_A_PIN),
    )
    def delete_pin(device: str, pin: str) -> dict[str, Any]:
        """Withdraw a person's claim."""
        which, by = known(device, pin), person(request.args.get("by", ""), _token())
        sender.carry_out(lambda: claims.let_go(which, time.time(), by))
        return facts.pin(which, time.time())

    def known(device: str, name: str) -> Pin:
        """Return the pin when a device declares it or it has a history here.

        Raises:
            Refusal: 404, or 503 while nobody can say yet.
            TopicError: the names are outside the grammar.
        """
        pin = check_device(device), check_name(name, "pin")
        if name in observed.pins.get(device, {}) or facts.has(pin):
            return pin
        if not reconciler.settled:
            raise Refusal(503, "not_ready", f"device: {device!r} is not known yet: the broker has not been heard")
        if device in observed.pins:
            names = ", ".join(sorted(observed.pins[device])) or "none"
            raise Refusal(404, "unknown", f"pin: {name!r} is not a pin of {device} (it has {names})")
        raise Refusal(404, "unknown", f"device: {device!r} is not known: no device of that name has said what it is")

    return api


def _look_at_safety(standing: Iterable[Claim], claim: Claim) -> None:
    """Refuse a claim in whose favour a person's emergency stop would end without anybody having said so.

    A person has one claim on a pin: a new one takes the place of the old one.

    Raises:
        Refusal: 409.
    """
    for one in standing:
        if one.owner == PERSON and one.slot == SAFETY != claim.slot and one.until_s and one.until_s > claim.since_s:
            until = datetime.fromtimestamp(one.until_s).astimezone()
            detail = f"slot: {one.source} holds the pin by slot safety until {until:%H:%M:%S}; withdraw that first"
            raise Refusal(409, "safety", detail)


def _token() -> str:
    """Return the name of the token of whoever asks, "" when they have none."""
    who = caller()
    return who.name if who.token else ""

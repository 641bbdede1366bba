"""Manual claims: what a person asks of a pin, for a time that ends.

Decodes the body of PUT /pins/<device>/<pin>; pure.
"""

import re

import msgspec

from contract.errors import ContractError
from contract.limits import MAX_BY_CHARS
from contract.payloads import number, string
from webhook.arbiter import MANUAL, PERSON, SAFETY, Claim
from webhook.commands import Pin
from webhook.ranges import refused

__all__ = ["MAX_PERSON_CHARS", "decode_claim", "person", "seconds_of"]

_MOST_S = 24 * 3600
# A command says "<slot> <who>" in `by`; the longest slot of a person is "manual" or "safety".
MAX_PERSON_CHARS = MAX_BY_CHARS - max(len(MANUAL), len(SAFETY)) - 1
_DURATION = re.compile(r"(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,5})s)?", re.ASCII)


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    value: int | float
    for_: str = msgspec.field(name="for", default="30m")
    until_s: float | None = None
    by: str = ""
    slot: str = MANUAL


_DECODER = msgspec.json.Decoder(_Request)


def seconds_of(text: str, key: str) -> int:
    """Return the seconds in a duration such as 90s, 30m or 1h30m.

    Raises:
        ContractError: it is none, or it is nothing.
    """
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if not total:
        raise ContractError(key, text, "is not a duration such as 90s, 30m or 1h30m", "duration")
    return total


def decode_claim(body: bytes, pin: Pin, declared: dict[str, object], now_s: float, token: str = "") -> Claim:
    """Return the claim that the body of a PUT asks for.

    Args:
        declared: what the device's `info` says of the pin.
        now_s: seconds since 1970.
        token: as in `person`.

    Raises:
        ContractError: it names the key, the value and the rule.
    """
    try:
        request = _DECODER.decode(body)
    except (ValueError, RecursionError) as error:
        raise ContractError("body", body[:60], f"is not a claim ({error})", "json") from None
    value = number(request.value, "value")
    if rule := refused(declared, value):
        raise ContractError("value", value, rule, "value")
    if request.slot not in (MANUAL, SAFETY):
        raise ContractError("slot", request.slot, "is not manual or safety", "slot")
    until_s = request.until_s if request.until_s is not None else now_s + seconds_of(request.for_, "for")
    if not now_s < until_s <= now_s + _MOST_S + 1:
        key, shown = ("until_s", request.until_s) if request.until_s is not None else ("for", request.for_)
        raise ContractError(key, shown, "does not end within the next 24 hours", "duration")
    return Claim(*pin, PERSON, value, request.slot, person(request.by, token), now_s, until_s)


def person(by: str, token: str = "") -> str:
    """Return who acts, for people and for the log.

    Args:
        by: who they say they are, "" for nobody.
        token: the name of the API token that they have, "" for none: whoever has one cannot leave its name out.

    Raises:
        ContractError: `by` is too long, or not text.
    """
    said = string(by, "by", MAX_PERSON_CHARS).strip()
    if not token:
        return said or "operator"
    end = f" via {token}" if said else token
    return said[: MAX_PERSON_CHARS - len(end)] + end

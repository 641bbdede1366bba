"""What a gateway posts, sorted: items of known devices, unknown names, items that nothing can be stored of. Pure."""

import json
from dataclasses import dataclass, field
from typing import Any

from contract.errors import ContractError
from contract.limits import MAX_PAYLOAD_BYTES
from contract.payloads import json_of
from inputs.gateway.accounts import Account
from inputs.gateway.decode import item_problem

__all__ = ["BadRequestError", "Sorted", "batch_of", "messages", "single_of", "sort"]

MOST_ITEMS = 5000


class BadRequestError(ValueError):
    """The request as a whole says nothing; the message is the answer."""


@dataclass
class Sorted:
    """Items of one request.

    Attributes:
        known: device id -> its items, in their order.
        stored: how many those are.
        unknown: names that are no device of this gateway, each once.
        rejected: what is wrong with the others: {"index": ..., "name": ..., "error": ...}.
    """

    known: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    stored: int = 0
    unknown: list[str] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)


def batch_of(body: bytes, account: Account) -> list[object]:
    """Return the items of a `POST /telemetry`; raises BadRequestError."""
    whole = _object(body)
    name = whole.get("name")
    if account.name and name != account.name:
        raise BadRequestError(f"name: {str(name)[:80]!r} is not the gateway {account.name!r} whose token this is")
    items = whole.get("data")
    if not isinstance(items, list):
        raise BadRequestError("data: is missing or no list of items")
    if len(items) > MOST_ITEMS:
        raise BadRequestError(f"data: {len(items)} items are more than {MOST_ITEMS}")
    return items


def single_of(body: bytes) -> list[object]:
    """Return the item of a `POST /device`; raises BadRequestError."""
    return [_object(body)]


def sort(items: list[object], account: Account) -> Sorted:
    """Sort items; the order of their keys means nothing."""
    found = Sorted()
    for index, item in enumerate(items):
        problem = item_problem(item)
        name = item.get("name") if isinstance(item, dict) else None
        if isinstance(name, str) and name and name not in account.devices:
            if name[:80] not in found.unknown:
                found.unknown.append(name[:80])
        elif problem or not isinstance(item, dict):
            shown = name[:80] if isinstance(name, str) else None
            found.rejected.append({"index": index, "name": shown, "error": problem})
        else:
            found.known.setdefault(account.devices[str(name)], []).append(item)
            found.stored += 1
    return found


def messages(found: Sorted) -> list[bytes]:
    """Return the items as messages that are not too long each; raises BadRequestError for an item that is."""
    made: list[bytes] = []
    for device, items in found.known.items():
        part: list[str] = []
        size_bytes = 0
        for item in items:
            text = json.dumps(item, ensure_ascii=True)
            if len(text) > MAX_PAYLOAD_BYTES - 100:
                raise BadRequestError(
                    f"data: an item of {str(item['name'])[:80]!r} is longer than {MAX_PAYLOAD_BYTES} bytes"
                )
            if part and size_bytes + len(text) > MAX_PAYLOAD_BYTES - 100:
                made.append(_message(device, part))
                part, size_bytes = [], 0
            part.append(text)
            size_bytes += len(text) + 1
        made.append(_message(device, part))
    return made


def _message(device: str, items: list[str]) -> bytes:
    return f'{{"{device}":[{",".join(items)}]}}'.encode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        whole = json_of(body.decode(), "body")
    except (ContractError, UnicodeError):
        raise BadRequestError("the body is not JSON") from None
    if not isinstance(whole, dict):
        raise BadRequestError("the body is not a JSON object")
    return whole

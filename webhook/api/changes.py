"""The route of the log: every change of every pin, in pages."""

from typing import Any

from flask import request

from contract.errors import ContractError, PayloadError
from contract.limits import MAX_INTEGER
from contract.payloads import bare_number, integer
from contract.topics import check_device, check_name
from webhook.access.scopes import READ
from webhook.api import shapes
from webhook.api.operations import Operations
from webhook.commands import Pin
from webhook.facts import Facts

__all__ = ["change_operations"]

_MOST = 1000
_QUERY: dict[str, dict[str, Any]] = {
    "after": {
        "description": "Only changes with a greater `id`: `next` of the page before.",
        "schema": {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER},
    },
    "since_s": {"description": "Only changes since then, seconds since 1970.", "schema": {"type": "number"}},
    "pin": {"description": "Only of this pin, as device/pin.", "schema": {"type": "string"}},
    "most": {
        "description": "Changes in a page.",
        "schema": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _MOST},
    },
}


def change_operations(facts: Facts) -> Operations:
    """Return the route of the log."""
    api = Operations()

    @api.operation("GET", "/changes", scope=READ, answer=shapes.ChangeList, query=_QUERY, refuses=(400,))
    def get_changes() -> dict[str, Any]:
        """List what was changed, held back and acknowledged, the oldest first."""
        given = request.args
        for key in given:
            if key not in _QUERY:
                raise PayloadError(key, given[key], f"is not a parameter; these are: {', '.join(_QUERY)}", "query")
        most = _whole("most", str(_MOST), 1, _MOST)
        found = facts.changes(
            _whole("after", "0", 0, MAX_INTEGER),
            bare_number(given.get("since_s", "0"), "since_s"),
            _pin(given["pin"]) if "pin" in given else None,
            most,
        )
        return {"changes": found, "next": found[-1]["id"] if len(found) == most else None}

    return api


def _whole(key: str, otherwise: str, least: int, most: int) -> int:
    return integer(bare_number(request.args.get(key, otherwise), key), key, least, most)


def _pin(text: str) -> Pin:
    device, _, name = text.partition("/")
    try:
        return check_device(device), check_name(name)
    except ContractError as error:
        raise PayloadError("pin", text, f"is not device/pin ({error})", "query") from None

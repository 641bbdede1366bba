"""Gateways and their tokens: who may post readings over HTTP, of which devices."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contract.errors import TopicError
from contract.topics import is_device
from inputs.names import device_id
from inputs.table import Table
from service.errors import SettingsError

__all__ = ["Account", "accounts", "hashed", "holder"]


@dataclass(frozen=True)
class Account:
    """A gateway.

    Attributes:
        id: its name in the file.
        name: what it calls itself in its messages, "" when that is not checked.
        token_sha256: of its token; a random token needs no slow hash.
        devices: name in its messages -> device id.
    """

    id: str
    name: str
    token_sha256: str
    devices: Mapping[str, str]


def hashed(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def holder(known: Sequence[Account], token: str) -> Account | None:
    """Return the gateway whose token this is; takes as long whichever it is."""
    given = hashed(token)
    found = [one for one in known if hmac.compare_digest(one.token_sha256, given)]
    return found[0] if found else None


def accounts(where: str, tables: object) -> list[Account]:
    """Return the gateways of the table [gateways].

    Raises:
        SettingsError: the first mistake in it.
    """
    found: list[Account] = []
    for name, items in Table(where, tables).take_all().items():
        table = Table(f"{where}: {name}", items)
        table.device("name of the table", name)
        token = table.text("token_sha256", None)
        if not re.fullmatch(r"[0-9a-f]{64}", token):
            raise table.wrong("token_sha256", token, "is not 64 hexadecimal digits: `pinloop gateway add` makes one")
        if any(one.token_sha256 == token for one in found):
            raise table.wrong("token_sha256", token, "is that of another gateway: who posts could not be told")
        found.append(Account(name, table.text("name"), token, _devices(table)))
        table.done()
    return found


def _devices(table: Table) -> dict[str, str]:
    given = table.take("devices", {})
    if isinstance(given, list):
        given = dict.fromkeys(map(str, given))
    if not isinstance(given, dict):
        raise table.wrong("devices", given, 'is neither a list of names nor a table name = "device id"')
    found: dict[str, str] = {}
    for name, device in given.items():
        try:
            made = device_id(name) if device is None and isinstance(name, str) else device
        except TopicError as error:
            raise table.wrong("devices", name, error.rule) from None
        if not is_device(made):
            raise table.wrong(f"devices: {name}", made, "is not a device id")
        if made in found.values():
            other = next(key for key, value in found.items() if value == made)
            raise SettingsError(f"{table.where}: devices: {name!r} and {other!r} are both the device {made!r}")
        found[name] = str(made)
    return found

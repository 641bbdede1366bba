"""What has to be changed in restored databases, so that they are believed and become true again."""

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from pinloop.errors import PinloopError

__all__ = ["renew_claims", "renew_rules"]


def renew_claims(path: Path) -> str:
    """Give the claims database another epoch, and return it.

    A device ignores commands of an epoch that it knows when their `seq` is not greater than the last; with the clock
    set back since the backup all would be. Of an epoch that it does not know it takes every one.

    Raises:
        PinloopError: it is no claims database.
    """
    epoch = secrets.token_hex(4)
    _change(path, "UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))
    return epoch


def renew_rules(path: Path) -> None:
    """Have the rules say to the webhook again how each alert stands.

    They were copied a moment after the claims: an alert that ended in between would be posted no more, and its claim
    would stand until it expires.

    Raises:
        PinloopError: it is no state of the rules.
    """
    _change(path, "UPDATE alerts SET delivered = 0", ())


def _change(path: Path, statement: str, values: tuple[str, ...]) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement, values)
    except sqlite3.Error as error:
        raise PinloopError(f"{path.name} of the backup cannot be used ({error})", "Use another backup.") from None

"""The sheet: what one transaction needs to know of its alerts, read at once, and what it says of them, written at once.

Each statement gives up the interpreter to other threads and takes it back, which
costs more than SQLite's work: a body of a thousand alerts takes a handful of
statements here, and so does one of a single alert.
"""

from collections.abc import Iterable, Sequence

from webhook.arbiter import Claim
from webhook.commands import Pin
from webhook.database import Database

__all__ = ["Sheet"]


class Sheet:
    """The alerts and claims that a transaction works on; the caller holds it.

    Args:
        fingerprints: of the alerts that it may ask for.
    """

    def __init__(self, database: Database, fingerprints: Iterable[str]) -> None:
        self._database = database
        keys = [(one,) for one in dict.fromkeys(fingerprints)]
        self._known: dict[str, tuple[float, str]] = {
            fingerprint: (starts_at, status)
            for fingerprint, starts_at, status in database.among(
                "fingerprint, starts_at, status", "alerts", ("fingerprint",), keys
            )
        }
        self._pins: dict[str, dict[Pin, None]] = {}
        for owner, device, pin in database.among("owner, device, pin", "claims", ("owner",), keys):
            self._pins.setdefault(owner, {})[device, pin] = None
        self._alerts: dict[str, Sequence[object]] = {}
        self._claims: dict[tuple[str, str, str], Claim | None] = {}

    def known(self, fingerprint: str) -> tuple[float, str] | None:
        """Return (starts_at, status) of an alert, None when it is new."""
        return self._known.get(fingerprint)

    def pins_of(self, owner: str) -> list[Pin]:
        """Return the pins on which an alert has claims."""
        return list(self._pins.get(owner, ()))

    def remember(self, row: Sequence[object], starts_at: float, status: str) -> None:
        """Put a row of the table `alerts`."""
        fingerprint = str(row[0])
        self._alerts[fingerprint] = row
        self._known[fingerprint] = (starts_at, status)

    def put(self, claim: Claim) -> None:
        """Put a claim in the place of the one that its owner has on the pin."""
        self._claims[claim.device, claim.pin, claim.owner] = claim
        self._pins.setdefault(claim.owner, {})[claim.device, claim.pin] = None

    def drop(self, pin: Pin, owner: str) -> None:
        """End a claim."""
        self._claims[(*pin, owner)] = None
        del self._pins[owner][pin]

    def write(self) -> None:
        """Write all of it."""
        ended = [key for key, claim in self._claims.items() if claim is None]
        made = [claim for claim in self._claims.values() if claim is not None]
        if ended:
            self._database.connection.executemany(
                "DELETE FROM claims WHERE device = ? AND pin = ? AND owner = ?", ended
            )
        if made:
            self._database.write("REPLACE INTO claims VALUES {rows}", made)
        if self._alerts:
            self._database.write("REPLACE INTO alerts VALUES {rows}", list(self._alerts.values()))

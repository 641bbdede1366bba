"""Basic users: names with a secret, stored as it is or as a hash.

A secret that Pinloop made is 144 random bits: nothing can be gained by
stretching it, and a comparison costs a microsecond. A password that a person
chose is stored as werkzeug's hash (`scrypt:...$salt$hash`, `pbkdf2:...`): a
check costs 80 ms and more, so what was right is remembered, under a key that
only this process has, for 5 minutes at most; and few are checked at a time.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from werkzeug.security import check_password_hash, generate_password_hash

from service.errors import SettingsError
from webhook.access.throttle import Throttle

__all__ = ["BasicUsers", "Busy", "check_stored"]

_HASHES = ("scrypt:", "pbkdf2:")
_REMEMBER_S = 300.0
_MOST_REMEMBERED = 256
# A check is one core for 80 ms. Whoever was right before has a place of their own: a flood of strangers that ask for
# checks must not keep them from being known again.
_CHECKS_OF_STRANGERS = 2
_CHECKS_OF_KNOWN = 1


class Busy(Exception):  # noqa: N818  (a state, not a fault)
    """Not checked; the attribute `wait_s` says after how many seconds it may be tried again."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"try again in {wait_s} s")
        self.wait_s = wait_s


def check_stored(name: str, stored: str) -> None:
    """Check a secret as it is stored.

    Raises:
        SettingsError: it begins like a hash and cannot be used as one; `name` is the setting's.
    """
    if not stored.startswith(_HASHES):
        return
    try:
        good = stored.count("$") == 2 and check_password_hash(stored, "") in (True, False)
    except ValueError:
        good = False
    if not good:
        raise SettingsError(
            f"--{name.replace('_', '-')}: (hidden) begins like a hash and is none that werkzeug.security makes "
            "(method$salt$hash, method scrypt:N:r:p or pbkdf2:sha256:N)"
        )


class BasicUsers:
    """Knows users by name and password.

    Args:
        stored: user -> secret as it is, or its hash.
        throttle: of failures.
        clock: seconds that never jump.
    """

    def __init__(
        self, stored: Mapping[str, str], throttle: Throttle, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stored = dict(stored)
        self._throttle = throttle
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()  # keyed hash of what was right -> until, by `clock`
        self._known: OrderedDict[str, None] = OrderedDict()  # addresses that were right once
        self._lock = threading.Lock()
        self._places = {
            False: threading.BoundedSemaphore(_CHECKS_OF_STRANGERS),
            True: threading.BoundedSemaphore(_CHECKS_OF_KNOWN),
        }
        # What a name that nobody has is compared with, at the same cost.
        hashed = next((one for one in self._stored.values() if one.startswith(_HASHES)), None)
        self._nobody = generate_password_hash(secrets.token_hex(), hashed.split("$")[0]) if hashed else "\0" * 32

    def knows(self, user: str, password: str, address: str) -> bool:
        """Tell whether the password is the user's.

        Raises:
            Busy: the address has been wrong too often, or too many hashes are being checked.
        """
        stored = self._stored.get(user)
        expected = self._nobody if stored is None else stored
        mark = self._mark(user, password, expected)
        if self._remembers(mark):
            return True
        wait_s = self._throttle.wait_s(address)
        if wait_s:
            raise Busy(wait_s)
        if expected.startswith(_HASHES):
            right = self._check_hash(expected, password, address)
        else:
            right = hmac.compare_digest(password.encode(), expected.encode())
        if not (right and stored is not None):
            return False
        self._remember(mark, address)
        return True

    def _mark(self, user: str, password: str, expected: str) -> bytes:
        parts = [part.encode() for part in (user, password, expected)]
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.blake2b(framed, key=self._key, digest_size=32).digest()

    def _remembers(self, mark: bytes) -> bool:
        with self._lock:
            until_s = self._right.get(mark)
            if until_s is not None and until_s <= self._clock():
                del self._right[mark]
                return False
            return until_s is not None

    def _remember(self, mark: bytes, address: str) -> None:
        with self._lock:
            self._right[mark] = self._clock() + _REMEMBER_S
            self._known[address] = None
            self._known.move_to_end(address)
            for table in (self._right, self._known):
                if len(table) > _MOST_REMEMBERED:
                    table.popitem(last=False)

    def _check_hash(self, expected: str, password: str, address: str) -> bool:
        with self._lock:
            known = address in self._known
        place = self._places[known]
        if not place.acquire(blocking=False):
            raise Busy(1)  # waiting would take the threads that valid requests need
        try:
            return check_password_hash(expected, password)
        finally:
            place.release()

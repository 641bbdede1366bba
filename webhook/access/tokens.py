"""API tokens: a file of hashes, written by `pinloop token`, read here again whenever it changes.

A token is 256 random bits, so its plain SHA-256 is as good as a slow hash.
It is shown once. Its form is `plt_<id>_<secret>`: the id finds the entry,
and whoever searches files for leaked secrets finds the prefix.
"""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from webhook.access.scopes import TOKEN_SCOPES, Caller

__all__ = ["Token", "TokenError", "Tokens", "create", "listed", "revoke"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,23}")
_TOKEN = re.compile(r"plt_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")


class TokenError(Exception):
    """A token cannot be made or found, or the file cannot be used; the message says why."""


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token as it is stored.

    Attributes:
        id: 8 characters, the middle of the token.
        name: for people, and for the audit of what it did.
        scope: one of TOKEN_SCOPES.
        sha256: hex, of the secret.
        created_s: seconds since 1970.
        until_s: the same, None for no end.
    """

    id: str
    name: str
    scope: str
    sha256: str
    created_s: float
    until_s: float | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    tokens: list[Token]


class Tokens:
    """Knows the tokens of a file, as it is now.

    Args:
        path: of the file; as long as there is none, there are no tokens.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._by_id: dict[str, Token] = {}
        self._problem: str | None = None
        self._lock = threading.Lock()

    def caller(self, text: str, now_s: float) -> Caller | None:
        """Return who has this token, None when nobody has."""
        match = _TOKEN.fullmatch(text)
        if not match:
            return None
        with self._lock:
            self._refresh()
            token = self._by_id.get(match[1])
        # An unknown id costs the same comparison as a known one.
        right = hmac.compare_digest(_digest(match[2]), token.sha256 if token else _digest(""))
        if token is None or not right or (token.until_s is not None and now_s >= token.until_s):
            return None
        return Caller(token.name, token.scope, token=True)

    def problem(self) -> str | None:
        """Return why no token is let in, None when all is well."""
        with self._lock:
            self._refresh()
            return self._problem

    def _refresh(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._by_id, self._problem = None, {}, None
            return
        except OSError as error:
            self._seen, self._by_id, self._problem = None, {}, f"{self._path}: {error.strerror}"
            return
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen == self._seen:
            return
        try:
            self._by_id, self._problem = {token.id: token for token in listed(self._path)}, None
        except TokenError as error:
            self._by_id, self._problem = {}, str(error)  # who was revoked cannot be told: nobody is let in
        self._seen = seen


def listed(path: Path) -> list[Token]:
    """Return the tokens of a file, the oldest first.

    Raises:
        TokenError: the file cannot be read, or is not ours.
    """
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise TokenError(f"{path}: cannot be used ({getattr(error, 'strerror', None) or error})") from None
    wrong = next((token for token in file.tokens if token.scope not in TOKEN_SCOPES), None)
    if file.version != 1 or wrong:
        what = f"scope {wrong.scope!r}" if wrong else f"version {file.version}"
        raise TokenError(f"{path}: {what} is not known here; it may be of a newer Pinloop")
    return file.tokens


def create(path: Path, name: str, scope: str, days: float | None = None) -> str:
    """Make a token, keep its hash in the file, and return it.

    Args:
        days: after which it ends, None for never.

    Raises:
        TokenError: the name is outside its grammar or taken, or the file cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise TokenError(f"name: {name!r} is not 1 to 24 of a-z 0-9 _ - that begin with a letter or digit")
    with _locked(path):
        tokens = listed(path)
        if any(token.name == name for token in tokens):
            raise TokenError(f"name: {name!r} has a token already; revoke it first, or choose another name")
        marker = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(8))
        secret = secrets.token_urlsafe(32)
        now_s = time.time()
        until_s = None if days is None else now_s + days * 86400
        _write(path, [*tokens, Token(marker, name, scope, _digest(secret), now_s, until_s)])
    return f"plt_{marker}_{secret}"


def revoke(path: Path, name: str) -> None:
    """Take a token out of the file, by its name or its id.

    Raises:
        TokenError: there is none, or the file cannot be used.
    """
    with _locked(path):
        tokens = listed(path)
        rest = [token for token in tokens if name not in (token.name, token.id)]
        if len(rest) == len(tokens):
            names = ", ".join(token.name for token in tokens) or "none"
            raise TokenError(f"{name!r} is not the name or id of a token (there is {names})")
        _write(path, rest)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        lock = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise TokenError(f"{path}: cannot be written ({error.strerror})") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, tokens: list[Token]) -> None:
    """Replace the file in one step: a reader sees the old or the new one."""
    body = msgspec.json.format(msgspec.json.encode(_File(1, tokens)), indent=2) + b"\n"
    try:
        number, name = tempfile.mkstemp(prefix=".tokens-", dir=path.parent)
        with os.fdopen(number, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(number)
        Path(name).replace(path)
    except OSError as error:
        raise TokenError(f"{path}: cannot be written ({error.strerror})") from None

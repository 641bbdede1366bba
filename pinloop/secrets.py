"""Secrets: made from the system's random source, kept one a file, and hashed the way mosquitto reads them.

Every secret is spelled with A-Z a-z 0-9 _ - only: Grafana expands `$` inside
provisioned values, shells and URLs have their own ideas about the rest.
"""

import base64
import hashlib
import hmac
import os
import secrets
import string
import tempfile
from pathlib import Path

__all__ = ["ALPHABET", "is_mosquitto_password", "make_secret", "mosquitto_password_line", "read_or_make", "write_file"]

ALPHABET = string.ascii_letters + string.digits + "_-"

# mosquitto's own default. The passwords are random (6 bits a character), so stretching protects nothing, and a
# broker that wakes up to 500 reconnecting devices has to compute every one of them.
_ITERATIONS = 101
_SALT_BYTES = 12  # mosquitto 2.0 writes and reads 12; 2.1 reads 12 and 64


def make_secret(chars: int = 24) -> str:
    """Return a random secret of `chars` characters of ALPHABET (6 bits each), the first a letter or digit.

    A leading "-" would make it a flag on a command line.
    """
    first = secrets.choice(ALPHABET[:62])
    return first + "".join(secrets.choice(ALPHABET) for _ in range(chars - 1))


def read_or_make(path: Path, chars: int = 24) -> str:
    """Return the secret in the file `path`; where there is none (or an empty file) make it, with mode 0600.

    Raises:
        OSError: the file cannot be read or written.
    """
    try:
        found = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        found = ""
    if found:
        return found
    made = make_secret(chars)
    write_file(path, made + "\n")
    return made


def write_file(path: Path, text: str, mode: int = 0o600, uid: int | None = None) -> None:
    """Replace the file `path` as a whole: after a crash it has its old text or the new one, never a part.

    Args:
        path: its folder is made when missing.
        text: the whole content.
        mode: permissions.
        uid: user and group id of the owner (only root may give files away); None: who runs this.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if uid is not None:
                os.fchown(file.fileno(), uid, uid)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def mosquitto_password_line(user: str, password: str) -> str:
    """Return the line of a mosquitto password file for `user`, without line end.

    The form is `user:$7$iterations$salt$hash`: PBKDF2 with SHA-512, base64.
    Source: mosquitto, libcommon/password_common.c.

    Raises:
        ValueError: the user name cannot stand in such a file.
    """
    if not user or not user.isprintable() or ":" in user or user[0] == "#":
        raise ValueError(f"user: {user!r} cannot be a broker user: no ':', no line breaks, no leading '#'")
    return f"{user}:{_hashed(password, _ITERATIONS, secrets.token_bytes(_SALT_BYTES))}"


def is_mosquitto_password(line: str, password: str) -> bool:
    """Tell whether `line` of a mosquitto password file ($7$ form) is for `password`."""
    try:
        _, form, iterations, salt, _ = line.rpartition(":")[2].split("$")
        expected = _hashed(password, int(iterations), base64.b64decode(salt, validate=True))
    except ValueError:
        return False
    return form == "7" and hmac.compare_digest(line.rpartition(":")[2].encode(), expected.encode())


def _hashed(password: str, iterations: int, salt: bytes) -> str:
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"

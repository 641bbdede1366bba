"""Secrets: their alphabet, their files, and mosquitto's password form."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from pinloop import secrets


def test_a_secret_has_the_asked_length_and_only_harmless_characters() -> None:
    """The first is never a dash, which would make it a flag."""
    made = {secrets.make_secret(24) for _ in range(500)}

    assert len(made) == 500
    assert {len(secret) for secret in made} == {24}
    assert set("".join(made)) <= set(secrets.ALPHABET)
    assert all(secret[0].isalnum() for secret in made)


def test_a_secret_is_made_once_and_read_ever_after(tmp_path: Path) -> None:
    """Its file is for its owner only; nothing else is left in the folder."""
    path = tmp_path / "folder" / "token"

    first = secrets.read_or_make(path, 40)

    assert len(first) == 40
    assert secrets.read_or_make(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["token"]


def test_an_empty_secret_file_counts_as_missing(tmp_path: Path) -> None:
    """A power cut may leave one; an empty password must never be used."""
    (tmp_path / "token").write_text("\n")

    assert len(secrets.read_or_make(tmp_path / "token")) == 24


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """The text cannot be encoded: the file keeps what it had."""
    path = tmp_path / "token"
    path.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        secrets.write_file(path, "\udc80")

    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["token"]


@pytest.mark.parametrize("user", ["", "a:b", "a\nb", "#a"])
def test_a_user_name_that_would_break_the_password_file_is_refused(user: str) -> None:
    """A line break would add an account."""
    with pytest.raises(ValueError, match="broker user"):
        secrets.mosquitto_password_line(user, "x")


@pytest.mark.parametrize(
    "line", ["", "user", "user:plain", "user:$6$101$c2FsdA==$aGFzaA==", "user:$7$x$y$z", "u:$7$1$-$"]
)
def test_what_is_not_a_password_line_matches_no_password(line: str) -> None:
    """Damaged files included."""
    assert not secrets.is_mosquitto_password(line, "x")


def test_mosquittos_own_hashes_are_understood(tmp_path: Path) -> None:
    """The same form in both directions; the other direction is the broker signing our users in."""
    program = shutil.which("mosquitto_passwd")
    if not program:
        pytest.skip("mosquitto_passwd is not installed")
    path = tmp_path / "passwd"
    subprocess.run([program, "-b", "-c", path, "pot", "its-password"], check=True)

    line = path.read_text().strip()

    assert secrets.is_mosquitto_password(line, "its-password")
    assert not secrets.is_mosquitto_password(line, "another")

"""The webhook's token for Grafana: made by setup, fits its key, and Grafana gives it no more than it needs."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from pinloop import setup
from pinloop.grafana_token import GRAFANA_USER, make_token

ROOT = Path(__file__).parents[2]
GRAFANA = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["grafana"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The secrets, as setup makes them."""
    assert setup.main(["--folder", str(tmp_path / "secrets")]) == 0
    return tmp_path / "secrets"


def decoded(part: str) -> bytes:
    """Return what a part of a token holds."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def fits(token: str, public: str, folder: Path) -> bool:
    """Let `openssl` compare a token's signature with a public key."""
    signed, _, signature = token.rpartition(".")
    numbers = decoded(signature)
    assert len(numbers) == 64
    spelled = "".join(f"0x{part.hex()}\n" for part in (numbers[:32], numbers[32:])).split()
    (folder / "form").write_text(f"asn1=SEQUENCE:s\n[s]\na=INTEGER:{spelled[0]}\nb=INTEGER:{spelled[1]}\n")
    (folder / "key").write_text(public)
    (folder / "signed").write_text(signed)
    subprocess.run(["openssl", "asn1parse", "-genconf", "form", "-out", "der", "-noout"], cwd=folder, check=True)
    words = ["openssl", "dgst", "-sha256", "-verify", "key", "-signature", "der", "signed"]
    return subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode == 0


def test_the_token_fits_the_key_that_grafana_gets(folder: Path, tmp_path: Path) -> None:
    """ES256, for a user of its own, without an end; a key of another token does not fit."""
    token = (folder / "webhook" / "grafana_token").read_text().strip()
    public = (folder / "grafana" / "grafana_token_key").read_text()

    header, claims, _ = token.split(".")

    assert json.loads(decoded(header)) == {"alg": "ES256", "typ": "JWT"}
    assert json.loads(decoded(claims)) == {"sub": GRAFANA_USER}
    assert fits(token, public, tmp_path)
    assert not fits(token, make_token()[1], tmp_path)


def test_a_signature_with_a_short_number_is_right_as_well(tmp_path: Path) -> None:
    """DER drops leading zeros and adds one where the first bit is set; of 40 tokens some have either."""
    for token, public in (make_token() for _ in range(40)):
        assert fits(token, public, tmp_path)


def test_nobody_can_make_another_token(folder: Path) -> None:
    """The key that signed is nowhere."""
    files = [path for path in folder.rglob("grafana*") if path.is_file()]

    assert [path.name for path in files if b"PRIVATE" in path.read_bytes()] == []


def test_a_service_accounts_token_in_its_place_is_kept(folder: Path) -> None:
    """For owners who let Grafana make it."""
    (folder / "owner" / "grafana_token").write_text("glsa_mine\n")

    assert setup.main(["--folder", str(folder)]) == 0

    assert (folder / "webhook" / "grafana_token").read_text() == "glsa_mine\n"


@pytest.mark.parametrize("name", ["grafana_token", "grafana_token_key"])
def test_a_lost_half_makes_both_anew(folder: Path, tmp_path: Path, name: str) -> None:
    """One half is worth nothing."""
    (folder / "owner" / name).unlink()

    assert setup.main(["--folder", str(folder)]) == 0

    token = (folder / "webhook" / "grafana_token").read_text().strip()
    assert fits(token, (folder / "grafana" / "grafana_token_key").read_text(), tmp_path)


def test_the_webhook_loses_grafanas_password_when_an_older_stack_is_brought_up(folder: Path) -> None:
    """It held a copy before there was a token."""
    (folder / "webhook" / "grafana_password").write_text("of an earlier version")

    assert setup.main(["--folder", str(folder)]) == 0

    assert not (folder / "webhook" / "grafana_password").exists()
    assert (folder / "grafana" / "grafana_password").exists()


def test_grafana_takes_it_for_a_viewer_whatever_it_says() -> None:
    """The role is in Grafana's configuration; nobody is made an administrator by a token, no URL carries one."""
    given = {key.removeprefix("GF_AUTH_JWT_"): value for key, value in GRAFANA["environment"].items() if "_JWT_" in key}

    assert given == {
        "ENABLED": "true",
        "HEADER_NAME": "Authorization",
        "KEY_FILE": "/secrets/grafana/grafana_token_key",
        "USERNAME_CLAIM": "sub",
        "AUTO_SIGN_UP": "true",
        "ROLE_ATTRIBUTE_PATH": "'Viewer'",
        "ROLE_ATTRIBUTE_STRICT": "true",
    }

"""Signing, as senders do it."""

import json
from pathlib import Path

from service.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, Signer

PAYLOADS = Path(__file__).parents[1] / "webhook" / "payloads"
VECTOR = json.loads((PAYLOADS / "hmac_vector.json").read_text())
BODY = (PAYLOADS / "hmac_body.bin").read_bytes()


def seconds_of(signer: Signer, body: bytes) -> int:
    return int(signer.headers(body)[TIMESTAMP_HEADER])


def test_it_signs_as_grafana_does():
    """The vector was made by Grafana's own code."""
    signer = Signer(VECTOR["secret"], "X-Time", lambda: int(VECTOR["timestamp"]) + 0.9)

    assert signer.headers(BODY) == {
        SIGNATURE_HEADER: VECTOR["signature_with_timestamp"],
        "X-Time": VECTOR["timestamp"],
    }


def test_the_same_body_at_once_again_has_another_signature():
    """A signature counts once: a retry must not wait for the next second."""
    signer = Signer("key", clock=lambda: 1000.5)

    assert [seconds_of(signer, body) for body in (b"a", b"a", b"a", b"b", b"a")] == [1000, 1001, 1002, 1000, 1000]


def test_the_time_of_a_signature_does_not_run_away():
    """Retries move it ahead by a minute at most; a clock that was set back counts at once."""
    now_s = [1000.0]
    signer = Signer("key", clock=lambda: now_s[0])

    assert max(seconds_of(signer, b"a") for _ in range(200)) == 1061
    now_s[0] = 500.0
    assert seconds_of(signer, b"a") == 500

"""The body of PUT /pins/<device>/<pin>."""

import json
from typing import Any

import pytest

from contract.errors import ContractError
from webhook.manual import decode_claim, seconds_of

NOW_S = 1_800_000_000.0
PIN = ("lights", "red")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"value": True}, "bool"),
        ({"value": "1"}, "str"),
        ({"value": 2**60}, "value"),
        ({"value": 2}, "max"),
        ({"value": -1}, "min"),
        ({}, "value"),
        ({"value": 1, "for": "25h"}, "24 hours"),
        ({"value": 1, "for": "soon"}, "duration"),
        ({"value": 1, "for": "0s"}, "for"),
        ({"value": 1, "for": ""}, "for"),
        ({"value": 1, "until_s": 5}, "until_s"),
        ({"value": 1, "slot": "alert"}, "slot"),
        ({"value": 1, "forr": "1m"}, "forr"),
        ({"value": 1, "by": "x" * 200}, "by"),
        ({"value": 1, "by": "a\nb"}, "by"),
        (b"{", "body"),
        (b"\xff", "body"),
        (b"[" * 100_000, "body"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_mistake_is_named(body: Any, named: str) -> None:
    """With its key, its value and its rule."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ContractError, match=named):
        decode_claim(data, PIN, {"min": 0, "max": 1}, NOW_S)


def test_a_switch_takes_no_value_between_off_and_on() -> None:
    """Its device would refuse it and go on as it was; a pin with `pwm_hz`, or of other firmware, takes any."""
    switch: dict[str, Any] = {"gpio": 4, "min": 0, "max": 1}
    with pytest.raises(ContractError, match="value: 0.5 is neither 0 nor 1"):
        decode_claim(b'{"value":0.5}', PIN, switch, NOW_S)
    assert decode_claim(b'{"value":0.5}', PIN, {**switch, "pwm_hz": 1000}, NOW_S).value == 0.5
    assert decode_claim(b'{"value":0.5}', PIN, {"min": 0, "max": 1}, NOW_S).value == 0.5


def test_a_claim_ends_after_half_an_hour_when_nothing_is_said() -> None:
    """And belongs to the operator, in the slot for people."""
    claim = decode_claim(b'{"value":1}', PIN, {}, NOW_S)
    assert (claim.until_s, claim.slot, claim.source) == (NOW_S + 1800, "manual", "operator")


def test_a_claim_may_end_at_a_time_and_be_one_of_safety() -> None:
    """`until_s` wins over `for`."""
    claim = decode_claim(b'{"value":0,"until_s":1800000060,"slot":"safety","by":"ana"}', PIN, {}, NOW_S)
    assert (claim.until_s, claim.slot, claim.source) == (NOW_S + 60, "safety", "ana")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1h1s", 3601)])
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    """Hours, minutes, seconds, in this order."""
    assert seconds_of(text, "for") == seconds

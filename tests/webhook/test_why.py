"""The answer to "why is this pin on?"."""

import re
from typing import Any

import pytest

from webhook.why import sentence

NOW_S = 1_800_000_000.0


def pin(
    desired: dict[str, Any] | None, reported: dict[str, Any] | None = None, drift_s: float | None = None, **more: object
) -> Any:
    return {"desired": desired, "reported": reported, "drift_s": drift_s, **more}


def held(by: str, wanted: float | None, until_s: float | None = NOW_S) -> dict[str, Any]:
    return {"by": by, "wanted": wanted, "until_s": until_s}


def wish(value: float | None = 1, slot: str = "alert", source: str = "too-bright") -> dict[str, Any]:
    return {"value": value, "slot": slot, "source": source, "since_s": NOW_S - 240, "until_s": NOW_S + 60}


REPORTED = {"value": 1, "seq": 5, "why": "command", "at_s": NOW_S}

CASES = [
    (
        (pin(wish(), REPORTED), False, NOW_S - 240, 0.012),
        (
            "on for 4 min: alert too-bright (slot alert) asks for 1 until TIME unless renewed; "
            "reported 1 (command), 12 ms after the command"
        ),
    ),
    (
        (pin(wish(40, "manual", "ana"), {**REPORTED, "value": 0, "why": "guard"}, 45.0), True, NOW_S - 3700, None),
        (
            "told to be at 40 for 1 h 1 min: person ana (slot manual) asks for 40 until TIME; reported 0 (guard); "
            "it has not followed for 45 s"
        ),
    ),
    (
        (pin(wish(0, "unknown", "dry")), False, NOW_S - 90000, None),
        (
            "the safe value 0 for 1 day: alert dry ended without saying whether its condition did; "
            "the device has reported nothing"
        ),
    ),
    (
        (pin(None, {**REPORTED, "why": "released"}), False, NOW_S - 7200, None),
        "released for 2 h: no claim, so the device keeps its default; reported 1 (released)",
    ),
    (
        (pin(wish()), False, NOW_S - 240, None),
        (
            "told to be on for 4 min: alert too-bright (slot alert) asks for 1 until TIME unless renewed; "
            "the device has reported nothing"
        ),
    ),
    (
        (pin(wish(), {**REPORTED, "value": 0, "why": "boot"}, held=held("quiet", 1)), False, NOW_S - 240, 0.003),
        (
            "alert too-bright (slot alert) asks for 1 until TIME unless renewed; "
            "1 is held back by quiet until TIME; reported 0 (boot)"
        ),
    ),
    ((pin(None), False, None, None), "no claim, and never had one; the device has reported nothing"),
    (
        (pin(wish(), REPORTED, held=held("min_off_s", 1)), False, NOW_S - 240, None),
        (
            "alert too-bright (slot alert) asks for 1 until TIME unless renewed; "
            "1 is held back by min_off_s until TIME; reported 1 (command)"
        ),
    ),
    (
        (pin(wish(), REPORTED, held=held("max_on_s", 1, None)), False, NOW_S - 240, None),
        (
            "alert too-bright (slot alert) asks for 1 until TIME unless renewed; "
            "1 is held back by max_on_s until nobody wants it on any more; reported 1 (command)"
        ),
    ),
    (
        (pin(None, REPORTED, held=held("min_on_s", None)), False, NOW_S - 60, None),
        "no claim; the release is held back by min_on_s until TIME; reported 1 (command)",
    ),
    (
        (pin(wish(), None, dry_run=True), False, NOW_S - 60, None),
        (
            "would be on for 1 min: alert too-bright (slot alert) asks for 1 until TIME unless renewed; "
            "dry-run: nothing is sent to it; the device has reported nothing"
        ),
    ),
]


@pytest.mark.parametrize(
    ("facts", "text"),
    CASES,
    ids=[
        "alert",
        "person",
        "unknown",
        "released",
        "silent",
        "boot",
        "nothing",
        "rest",
        "trip",
        "minimum",
        "dry-run",
    ],
)
def test_the_sentence_says_who_what_since_when_and_until_when(facts: tuple[Any, ...], text: str) -> None:
    """For every kind of reason."""
    assert re.sub(r"\d\d:\d\d:\d\d [A-Z]+", "TIME", sentence(*facts, now_s=NOW_S)) == text


def test_an_end_beyond_the_calendar_is_an_answer_too() -> None:
    """A device may declare any pause; asking why its pin is off must not fail for that."""
    text = sentence(pin(None, held=held("min_off_s", 1, 9e15)), False, None, None, NOW_S)
    assert text.startswith("no claim; 1 is held back by min_off_s until after the year 9999")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"away": "the device is offline: it may have changed that since"},
            "reported 1 (command); the device is offline: it may have changed that since",
        ),
        (
            {"refused": "is beyond the pin's max, 0.5"},
            "the device does not take that: it is beyond the pin's max, 0.5; reported 0 (boot)",
        ),
    ],
    ids=["away", "refused"],
)
def test_a_pin_that_may_not_be_what_it_is_told_is_not_said_to_be(more: dict[str, str], text: str) -> None:
    """A device that has lost its link sets the safe value, one that is told nonsense goes on as it was."""
    reported = {**REPORTED, "value": 0, "why": "boot"} if "refused" in more else REPORTED
    found = sentence(pin(wish(), reported), False, NOW_S - 240, None, NOW_S, **more)
    assert found.startswith("told to be on for 4 min: alert too-bright (slot alert) asks for 1 until ")
    assert found.endswith(text)

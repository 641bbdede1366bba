"""Numbers and times for people."""

import pytest

from hub import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (61.5, "61.5"),
        (21.5342, "21.53"),
        (1013.25, "1013.2"),
        (40000.7, "40001"),
        (0.1234, "0.123"),
        (-3.5, "−3.5"),
    ],
)
def test_a_number_shows_about_four_digits(value: float, text: str) -> None:
    """Enough to see a change, no zeros for nothing."""
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (7200, "2 h"), (200000, "2 d")]
)
def test_an_age_has_one_unit(seconds: float, text: str) -> None:
    """The largest that fits."""
    assert words.age(seconds) == text

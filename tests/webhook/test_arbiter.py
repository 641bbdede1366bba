"""Arbitration: which claim wins."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.arbiter import HIGH, LOW, NEWEST, PREFERENCES, SLOTS, Claim, desired, ranked


def claim(owner: str, value: float | None = 1, slot: str = "alert", since_s: float = 0) -> Claim:
    return Claim("lights", "red", owner, value, slot, owner, since_s, since_s + 300)


def test_without_claims_nothing_wins() -> None:
    """The pin is released."""
    assert desired([]) is None


@pytest.mark.parametrize(("higher", "lower"), list(itertools.pairwise(SLOTS)))
@pytest.mark.parametrize("preference", PREFERENCES)
def test_the_higher_slot_wins_whatever_it_asks_for(higher: str, lower: str, preference: str) -> None:
    """Safety, manual, alert, timer, threshold, unknown: in this order."""
    off, on = claim("a", 0, higher, since_s=1), claim("b", 1, lower, since_s=2)
    assert desired([on, off], preference) == off


@pytest.mark.parametrize(("preference", "winner"), [(HIGH, "high"), (LOW, "low"), (NEWEST, "newest")])
def test_the_preference_decides_within_a_slot(preference: str, winner: str) -> None:
    """High is the default."""
    claims = [claim("low", 0, since_s=1), claim("newest", 50, since_s=3), claim("high", 100, since_s=2)]
    won = desired(claims, preference)
    assert won is not None
    assert won.owner == winner
    assert desired(claims) == claims[2]


def test_a_second_alert_that_wants_the_same_changes_nothing() -> None:
    """Of equals the older one stays."""
    assert desired([claim("second", since_s=2), claim("first", since_s=1)]) == claim("first", since_s=1)


_CLAIMS = st.lists(
    st.builds(
        claim,
        st.text("abc", min_size=1, max_size=3),
        st.sampled_from([None, 0, 1, 40, -5, 0.5]),
        st.sampled_from(SLOTS),
        st.integers(0, 3),
    ),
    max_size=6,
    unique_by=lambda one: one.owner,
)


@given(_CLAIMS, st.sampled_from(PREFERENCES), st.randoms())
def test_the_order_of_the_claims_does_not_matter(claims: list[Claim], preference: str, random: object) -> None:
    """The same claims give the same winner, and the same order of heirs."""
    shuffled = list(claims)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert desired(claims, preference) == desired(shuffled, preference)
    assert ranked(claims, preference) == ranked(shuffled, preference)


@given(_CLAIMS, st.sampled_from(PREFERENCES))
def test_a_claim_that_loses_can_go_without_changing_the_winner(claims: list[Claim], preference: str) -> None:
    """And the winner's heir is the winner of the rest."""
    order = ranked(claims, preference)
    for loser in order[1:]:
        assert desired([one for one in claims if one != loser], preference) == order[0]
    if order:
        assert desired(order[1:], preference) == (order[1] if len(order) > 1 else None)

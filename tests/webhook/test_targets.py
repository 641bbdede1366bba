"""The label `actuate`."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ContractError
from webhook.targets import MAX_TARGETS, Target, parse_targets


def test_a_label_names_pins_and_values() -> None:
    """Several pins, duties and spaces."""
    assert parse_targets("lights/red=1, attic-1/vent = 40 ,a/b=0.5") == [
        Target("lights", "red", 1),
        Target("attic-1", "vent", 40),
        Target("a", "b", 0.5),
    ]


def test_a_target_is_written_as_it_was_read() -> None:
    """Whole numbers stay whole."""
    assert [str(target) for target in parse_targets("lights/red=1,a/b=0.5")] == ["lights/red=1", "a/b=0.5"]


@pytest.mark.parametrize(
    "label",
    ["", ",", "lights", "lights/red", "lights/red=", "lights/red=on", "/red=1", "lights/=1", "lights/red=1,",
     "lights/red=1;b/c=2", "Lights/red=1", "lights/Red=1", "lights/red/x=1", "../x=1", "+/red=1", "#/red=1", "$SYS/x=1",
     "lights/red=nan", "lights/red=inf", "lights/red=1e999", "lights/red=1_0", "lights/r\x00d=1", "l/r=1,l/r=0",
     "x" * 33 + "/red=1", ",".join(f"d{i}/p=1" for i in range(MAX_TARGETS + 1))],
)  # fmt: skip
def test_a_label_outside_the_grammar_is_refused(label: str) -> None:
    """The error names the key."""
    with pytest.raises(ContractError, match="actuate"):
        parse_targets(label)


@given(st.text(alphabet="ab1/=,+#$._- \x00é-", max_size=30) | st.text(max_size=60))
def test_nothing_outside_the_grammar_ever_passes(label: str) -> None:
    """What passes could stand in a topic as it is."""
    try:
        targets = parse_targets(label)
    except ContractError:
        return
    for target in targets:
        assert re.fullmatch("[a-z0-9][a-z0-9_-]{0,31}", target.device)
        assert re.fullmatch("[a-z][a-z0-9_]{0,31}", target.pin)
        assert abs(target.value) < float("inf")

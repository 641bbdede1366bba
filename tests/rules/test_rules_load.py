"""rules.yml: what may stand in it, and what is said about every mistake."""

import json
import re
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import expressions
from rules.check import check
from rules.errors import RulesError
from rules.load import load_rules, parse_rules
from rules.model import OPERATORS, Comparison, Condition, Daily, NoData, Target

FIXTURES = sorted(Path(__file__).with_name("fixtures").glob("*.yml"))
SAMPLE = Path(__file__).resolve().parents[2] / "rules" / "sample.yml"


def test_the_sample_is_the_rule_that_a_newcomer_meets():
    """The mean of ten seconds above 80, until it is below 70."""
    [rule] = load_rules(SAMPLE)
    assert rule.name == "too-bright"
    assert rule.engine == "grafana"
    assert rule.slot == "alert"
    assert rule.then == (Target("lights", "red", 1), Target("lights", "green", 0))
    assert rule.trigger == Condition(
        "pot", None, Comparison(">", 80), Comparison("<", 70), 10.0, "mean", 0.0, NoData(60.0, "release")
    )


def test_the_commented_examples_of_the_sample_are_rules_too():
    """A newcomer takes the # away and has a rule that works."""
    text = re.sub(r"^  # (?=- |  )", "  ", SAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [rule.name for rule in parse_rules(text)] == ["too-bright", "porch-lamp", "too-warm"]


def test_a_daily_rule_has_a_zone_and_claims_as_a_timer():
    """An unquoted 18:00 is a time too, not the number 1080 that YAML makes of it."""
    [rule] = parse_rules(
        "version: 1\nrules:\n- {name: lamp, daily: 18:00, lasts: 5h30m, tz: Europe/Madrid, then: [porch/lamp = 1]}"
    )
    assert rule.trigger == Daily(time(18, 0), 19800.0, ZoneInfo("Europe/Madrid"))
    assert rule.slot == "timer"


def test_words_that_yaml_takes_for_something_else_are_names():
    """A device may be called no, 0123 or null-island."""
    [rule] = parse_rules("version: 1\nrules:\n- {name: on, when: y > 0, device: [no, 0123], then: [off/no = 1]}")
    assert isinstance(rule.trigger, Condition)
    assert rule.trigger.devices == ("no", "0123")
    assert rule.actuate("no") == "off/no=1"


def test_without_no_data_a_silent_device_releases_after_a_minute_or_the_window():
    """The default is never shorter than `over`."""
    text = "version: 1\nrules:\n- {name: a, when: pot > 1, over: OVER, then: [x/y = 1]}"
    for over, after_s in (("10s", 60.0), ("10m max", 600.0)):
        [rule] = parse_rules(text.replace("OVER", over))
        assert isinstance(rule.trigger, Condition)
        assert rule.trigger.no_data == NoData(after_s, "release")


def test_a_target_may_be_the_device_that_the_reading_came_from():
    """`{device}` in quotes."""
    [rule] = parse_rules('version: 1\nrules:\n- {name: a, when: t > 1, then: ["{device}/fan = 1", hall/lamp = 0.5]}')
    assert rule.actuate("greenhouse-1") == "greenhouse-1/fan=1,hall/lamp=0.5"


@pytest.mark.parametrize("text", ["version: 1\nrules: []", "version: 1\nrules:\n"])
def test_a_file_may_hold_no_rule(text: str):
    """Somebody who removed the last one did not make a mistake."""
    assert parse_rules(text) == []


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_every_mistake_is_told_with_its_line_rule_key_value_and_what_it_breaks(path: Path):
    """The messages stand at the end of each file: all of them, no others."""
    expected = [line[3:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#= ")]
    assert expected
    report = check(path)
    assert not report.ok
    assert [str(problem).removeprefix(f"{path}:") for problem in report.problems] == expected


def test_a_file_that_cannot_be_read_is_a_problem_of_the_file(tmp_path: Path):
    """Missing, a folder, not text, too long."""
    (tmp_path / "latin1").write_bytes(b"version: \xff")
    (tmp_path / "long").write_bytes(b"#" * ((1 << 20) + 1))
    for name, rule in (
        ("missing", "cannot be read (No such file or directory)"),
        ("", "cannot be read (Is a directory)"),
        ("latin1", "is not UTF-8"),
        ("long", "is longer than 1048576 bytes"),
    ):
        with pytest.raises(RulesError) as caught:
            load_rules(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {rule}"


@pytest.mark.parametrize("text", ["&a [*a]", "[" * 1100, "{? [1]: 2}", "- 1\n---\n- 2", "\t", "a: b: c"])
def test_strange_yaml_is_a_problem_and_not_a_crash(text: str):
    """Self-reference, depth, keys that are lists, two documents."""
    with pytest.raises(RulesError):
        parse_rules(text)


def test_aliases_of_aliases_are_not_written_out():
    """Nine lines would be a billion nodes."""
    lines = ["version: 1", "a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 15)]
    with pytest.raises(RulesError, match="a14: is not a key"):
        parse_rules("\n".join(lines))


@given(st.text(max_size=200))
def test_no_text_does_more_than_raise_rules_error(text: str):
    """Whatever stands in the file."""
    for whole in (text, "version: 1\nrules:\n- " + text):
        try:
            parse_rules(whole)
        except RulesError as error:
            assert error.problems  # noqa: PT017


KEYS = ("name", "when", "over", "clear", "for", "device", "then", "slot", "daily", "lasts", "tz", "no_data", "engine")


@given(st.dictionaries(st.sampled_from(KEYS), st.text(st.characters(codec="ascii"), max_size=20), min_size=1))
def test_no_value_of_a_key_does_more_than_raise_rules_error(values: dict[str, str]):
    """Quoted text in the place of everything."""
    text = "version: 1\nrules:\n- " + json.dumps(values)
    with pytest.raises(RulesError):
        parse_rules(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("500ms", 0.5), ("5h30m", 19800), ("1d", 86400), ("1m1ms", 60.001), ("0s", 0), ("90m", 5400)],
)
def test_durations(text: str, seconds: float):
    """Whole numbers with their units, the longest first."""
    assert expressions.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "1.5s", "-1s", "1s1m", "10 s", "1S", "٣s", "367d", "1s1s"])
def test_what_is_no_duration(text: str):
    """Each is told."""
    with pytest.raises(ValueError, match=r"is not a duration|is longer than a year"):
        expressions.duration_s(text)


numbers = st.integers(-5, 5)


@given(st.sampled_from(sorted(OPERATORS)), numbers, st.sampled_from(sorted(OPERATORS)), numbers)
def test_overlap_finds_a_value_where_both_hold_exactly_when_there_is_one(one: str, first: int, other: str, second: int):
    """Compared with trying every quarter between -7 and 7."""
    a, b = Comparison(one, first), Comparison(other, second)
    tried = [value / 4 for value in range(-28, 29) if a.holds(value / 4) and b.holds(value / 4)]
    found = expressions.overlap(a, b)
    assert (found is not None) == bool(tried)
    if found is not None:
        assert a.holds(found)
        assert b.holds(found)


def test_overlap_between_neighbouring_floats():
    """Where there is no midpoint."""
    assert expressions.overlap(Comparison(">", 1e17), Comparison("<", 1e17)) is None
    assert expressions.overlap(Comparison(">=", 1e17), Comparison("<", 1e17 + 16)) == 1e17

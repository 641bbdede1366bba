"""Routes: matchers, which route an alert takes, and what it then claims."""

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contract.errors import ContractError
from webhook.dialects import FIRING, Notification
from webhook.routes import Route, matching, targets_of
from webhook.routes_matchers import parse_matchers
from webhook.routes_regex import MAX_TEXT_CHARS, Regex
from webhook.targets import parse_template

LABELS = {"severity": "critical", "room": "attic", "text": 'a "b", {c}'}


def route(number: int, matchers: str, *targets: str, slot: str = "", goes_on: bool = False) -> Route:
    found = tuple(parse_matchers(matchers)) if matchers else ()
    return Route(number, found, tuple(parse_template(one) for one in targets), slot, goes_on)


def notice(**labels: str) -> Notification:
    return Notification("f", 0.0, FIRING, "n", labels, {})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('severity="critical"', True),
        ("severity=critical", True),
        ("severity = critical", True),
        ('severity!="critical"', False),
        ('severity=~"crit.*|warn"', True),
        ('severity=~"crit"', False),  # the whole value
        ('severity!~"crit"', True),
        ('severity!~"c.*l"', False),
        ('{severity="critical", room=~"a.+"}', True),
        ('{severity="critical", room="hall"}', False),
        ('severity="critical",room="attic",', True),
        ('missing=""', True),  # a label that is not there counts as empty
        ('missing!=""', False),
        ('missing=~".+"', False),
        ('missing=~".*"', True),
        (r'text="a \"b\", {c}"', True),
        (r'room=~"\w{5}"', True),
    ],
)
def test_matchers_are_read_as_alertmanager_reads_them(text: str, holds: bool) -> None:
    """Operators, quotes, escapes, braces, lists, and labels that are not there."""
    assert all(matcher.matches(LABELS) for matcher in parse_matchers(text)) is holds


@pytest.mark.parametrize(
    "text",
    ["", "{}", "severity", "=x", '="x"', 'a="x', 'a="x" b="y"', '{a="b"', 'a="b"}', "a==b", "a=b=c", 'a=~"("',
     'a=~"(a+)+{3}+"', "a=~" + "x" * 300, "x" * 2000],
)  # fmt: skip
def test_what_is_no_matcher_is_refused(text: str) -> None:
    """With a sentence that says why."""
    with pytest.raises(ValueError, match="[a-z]"):
        parse_matchers(text)


PATTERNS = ["a|b", "(?i)[^a]b", "(?i)A[b-c]", "x-[0-9]+", "(a+)+b", ".*(x|y){2,3}z?", "^abc$", "a{2,}", "a{0,2}b",
            r"[\w.-]+", "[]a]+", r"\d\D\s?", "(?:ab)*c", "", "a||b", r"\.\[", "a+?b*?", "[^\\d]x"]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(alphabet="abcxyzAB0123-. ]\n[", max_size=8))
@settings(max_examples=60)
@example(text="")
def test_regular_expressions_match_what_pythons_match(pattern: str, text: str) -> None:
    """Python's engine is the counterpart for what both understand."""
    assert Regex(pattern).matches(text) == bool(re.fullmatch(pattern, text, re.ASCII))


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "(a", "[a", "*", "a**", "a{3}{2}", "a{2,1}", "a{x}", r"\b", r"\1", r"\pL", "(?=a)", "(?P<n>a)", "[b-a]",
     "(" * 100 + ")" * 100, "a{501}", "((a{30}){30})", "x" * 257, "\\"],
)  # fmt: skip
def test_regular_expressions_beyond_the_engine_are_refused(pattern: str) -> None:
    """Never understood as something else; and no pattern grows without bounds."""
    with pytest.raises(ValueError, match="[a-z]"):
        Regex(pattern)


@pytest.mark.parametrize(
    ("pattern", "tail"),
    [("(a+)+b", ""), ("(a|a)*b", ""), ("(a*)*b", "c"), ("(.*a){100}", "b"), ("(a?){150}a{150}", "")],
)
def test_no_label_can_keep_the_webhook_busy(pattern: str, tail: str) -> None:
    """Patterns for which a backtracking engine needs longer than the universe is old; here fractions of a second."""
    began_s = time.process_time()
    Regex(pattern).matches("a" * (MAX_TEXT_CHARS - len(tail)) + tail)
    assert time.process_time() - began_s < 2


def test_a_longer_label_matches_no_regular_expression() -> None:
    """The bound is part of the meaning, in both directions."""
    (positive,), (negative,) = parse_matchers("a=~.*"), parse_matchers("a!~.*")
    long = {"a": "x" * (MAX_TEXT_CHARS + 1)}
    assert (positive.matches(long), negative.matches(long)) == (False, True)


def test_the_first_route_decides_unless_it_says_continue() -> None:
    """As siblings in Alertmanager."""
    routes = [
        route(1, "severity=info", "a/p=1"),
        route(2, "severity=critical", "b/p=1", goes_on=True),
        route(3, "", "c/p=1"),
        route(4, "", "d/p=1"),
    ]
    assert [one.number for one in matching(routes, {"severity": "critical"})] == [2, 3]
    assert [one.number for one in matching(routes, {"severity": "info"})] == [1]
    assert [one.number for one in matching(routes, {})] == [3]


def test_of_two_routes_with_the_same_pin_the_first_counts() -> None:
    """And the first slot that is given."""
    routes = [
        route(1, "", "a/p=1", "{device}/q=5", goes_on=True),
        route(2, "", "a/p=0", "b/p={level}", slot="safety"),
    ]
    targets, slot = targets_of(notice(device="x", level="40"), routes)
    assert [str(one) for one in targets] == ["a/p=1", "x/q=5", "b/p=40"]
    assert slot == "safety"


def test_the_label_actuate_comes_before_every_route() -> None:
    """A route is for alerts that name no pins themselves."""
    targets, slot = targets_of(notice(actuate="x/y=1", slot="timer"), [route(1, "", "a/p=1", slot="safety")])
    assert ([str(one) for one in targets], slot) == (["x/y=1"], "timer")


def test_without_label_and_route_an_alert_asks_for_nothing() -> None:
    """The error says that routes were tried."""
    with pytest.raises(ContractError, match="names no pins, and no route matches it"):
        targets_of(notice(a="b"), [route(1, "a=c", "a/p=1")])
    with pytest.raises(ContractError, match="needs the label device"):
        targets_of(notice(a="b"), [route(1, "", "{device}/p=1")])


INJECTIONS = ["", ".", "..", "../x", "a/b", "a/b=1,c/d", "+", "#", "a+", "$SYS", "$share/g/x", "x\x00", "x\n", "x\ty",
              "x y", " ", "A", "é", "ａ", "\ufdd0", "\u202e", "a" * 33, "/".join("a" * 300), "{device}", "{other}",
              "%u", "-a", "_a", "a;b", "a'b", 'a"b', "=1", "pinloop/x/cmd"]  # fmt: skip


@pytest.mark.parametrize("part", ["device", "pin", "value"])
@pytest.mark.parametrize("value", INJECTIONS)
def test_no_label_shapes_a_topic_outside_the_grammar(part: str, value: str) -> None:
    """The list of everything that a broker hangs up at, hides, or reads as a wildcard."""
    text = {"device": "{x}/p=1", "pin": "d/{x}=1", "value": "d/p={x}"}[part]
    with pytest.raises(ContractError):
        targets_of(notice(x=value, other="b", device="c"), [route(1, "", text)])


@given(st.text(max_size=12), st.sampled_from(["{x}/p=1", "d/{x}=1", "d/p={x}", "a{x}/p{x}=1{x}"]))
def test_whatever_comes_out_of_a_template_is_within_the_grammar(value: str, text: str) -> None:
    """Checked after the labels were put in."""
    try:
        (target,), _ = targets_of(notice(x=value), [route(1, "", text)])
    except ContractError:
        return
    assert re.fullmatch("[a-z0-9][a-z0-9_-]{0,31}/[a-z][a-z0-9_]{0,31}=.+", str(target))


@pytest.mark.parametrize(
    "text", ["", "a", "a/b", "a/b=", "a/b=x", "{a/b=1", "A{x}/p=1", "d/{x}y-=1", "d/p=1{x}e", "{x y}/p=1"]
)
def test_a_template_that_could_never_come_out_right_is_refused_at_once(text: str) -> None:
    """When the file is read, not when the first alert comes."""
    with pytest.raises(ContractError):
        parse_template(text)

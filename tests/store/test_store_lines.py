"""Line protocol: exact bytes, and back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import StoreError
from store.lines import line, lines, tag_text
from store.points import Point

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\\"), min_size=1, max_size=12)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
POINTS = st.builds(
    Point,
    NAMES.filter(lambda name: not name.startswith("#")),
    st.dictionaries(NAMES, NAMES, max_size=4).map(lambda tags: tuple(sorted(tags.items()))),
    st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False) | TEXTS, min_size=1, max_size=5),
    st.integers(-(2**63) + 2, 2**63 - 2),
)


def parse(text: str) -> Point:
    """Read a line as the specification describes it: a backslash escapes the next special character."""

    def until(stops: str, position: int) -> tuple[str, int]:
        found = ""
        while text[position] not in stops:
            if text[position] == "\\" and text[position + 1] in ", =":
                position += 1
            found += text[position]
            position += 1
        return found, position

    measurement, at = until(", ", 0)
    tags: list[tuple[str, str]] = []
    while text[at] == ",":
        key, at = until("=", at + 1)
        value, at = until(", ", at + 1)
        tags.append((key, value))
    fields: dict[str, float | str] = {}
    while not fields or text[at] == ",":
        key, at = until("=", at + 1)
        at += 1
        if text[at] == '"':
            content, at = "", at + 1
            while text[at] != '"':
                at += text[at] == "\\"
                content += text[at]
                at += 1
            fields[key], at = content, at + 1
        else:
            number, at = until(", ", at)
            fields[key] = float(number)
    return Point(measurement, tuple(tags), fields, int(text[at + 1 :]))


@given(POINTS)
def test_what_is_written_reads_back_the_same(point: Point) -> None:
    """Escaping loses nothing, whatever the names and texts hold."""
    assert parse(line(point)) == point


@pytest.mark.parametrize(
    ("point", "wanted"),
    [
        (
            Point("readings", (("device", "pot"),), {"pot": 61, "n": 17, "boot": "k3f9"}, 1763690000250000000),
            'readings,device=pot pot=61.0,n=17.0,boot="k3f9" 1763690000250000000',
        ),
        (Point("m", (("b", "2"), ("a", "1")), {"x": -0.5}, 1), "m,a=1,b=2 x=-0.5 1"),
        (Point("a b,c=d", (), {"k=,": 1e300}, -5), r"a\ b\,c=d k\=\,=1e+300 -5"),
        (Point("m", (("t", "a,b c=d"),), {"s": 'say "\\"'}, 0), r'm,t=a\,b\ c\=d s="say \"\\\"" 0'),
        (Point("m", (), {"ä": "→"}, 0), 'm ä="→" 0'),
    ],
)
def test_lines_are_exact(point: Point, wanted: str) -> None:
    """Numbers are floats, tags are sorted, special characters are escaped."""
    assert lines([point, point]) == f"{wanted}\n{wanted}".encode()


@pytest.mark.parametrize(
    "point",
    [
        Point("m", (), {}, 0),
        Point("", (), {"x": 1}, 0),
        Point("#m", (), {"x": 1}, 0),
        Point("m", (("t", ""),), {"x": 1}, 0),
        Point("m", (("t", "a\nb"),), {"x": 1}, 0),
        Point("m", (("t", "a\\"),), {"x": 1}, 0),
        Point("m", (), {"x": "a\nb"}, 0),
        Point("m", (), {"x": "\ud800"}, 0),
        Point("m", (), {"x": math.nan}, 0),
        Point("m", (), {"x": -math.inf}, 0),
        Point("m", (), {"x": 10**400}, 0),
        Point("m", (), {"x": 1}, 2**63),
    ],
)
def test_what_cannot_be_carried_unharmed_is_refused_for_good(point: Point) -> None:
    """No such point can forge a second line or change its meaning on the way."""
    with pytest.raises(StoreError) as caught:
        line(point)
    assert caught.value.permanent


def test_equal_tags_give_equal_text() -> None:
    """The text identifies a series, whichever order the tags came in."""
    assert tag_text((("b", "2"), ("a", "1"))) == tag_text((("a", "1"), ("b", "2"))) == "a=1,b=2"

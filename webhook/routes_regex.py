"""Regular expressions that take linear time: what matchers compare labels with.

Alertmanager uses RE2, whose time grows with the length of the text alone.
Python's `re` backtracks: `(a+)+b` against thirty letters takes minutes, and a
label is a stranger's text. So a pattern becomes a set of states, and all of them
are followed at once. Always anchored at both ends.

What RE2 has and this has not is refused, never understood otherwise: names and
flags of groups except (?i) at the start, \\b, \\p, octal and hexadecimal escapes.

Sources: Thompson, "Regular Expression Search Algorithm", 1968; RE2's syntax.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["MAX_PATTERN_CHARS", "MAX_STATES", "MAX_TEXT_CHARS", "Regex"]

MAX_PATTERN_CHARS = 256
_MAX_DEPTH = 32
MAX_STATES = 500  # counted repetitions are written out: (a{9}){9} is 81 states
MAX_TEXT_CHARS = 1024  # a longer label matches nothing; the worst pattern takes a tenth of a second for this one

_Test = Callable[[str], bool]

_SPACES = " \t\n\r\f\v"
_CLASSES: dict[str, _Test] = {
    "d": lambda char: char.isascii() and char.isdigit(),
    "w": lambda char: char.isascii() and (char.isalnum() or char == "_"),
    "s": lambda char: char in _SPACES,
}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}


@dataclass(frozen=True, slots=True)
class _Char:
    test: _Test


@dataclass(frozen=True, slots=True)
class _Edge:
    at_start: bool


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True)
class _Either:
    parts: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: "_Node"
    least: int
    most: int | None


_Node = _Char | _Edge | _Sequence | _Either | _Repeat


class Regex:
    """A pattern that must match the whole text.

    Raises:
        ValueError: it is none, too long, or uses what this engine has not; the message completes "'<pattern>' ...".
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MAX_PATTERN_CHARS:
            raise ValueError(f"is longer than {MAX_PATTERN_CHARS} characters")
        self.pattern = pattern
        # State number -> what it is: a test of one character, an edge of the text, or None for a fork; and where to.
        self._what: list[_Char | _Edge | None] = []
        self._next: list[tuple[int, ...]] = []
        self._end = self._add(None, ())
        self._start = self._build(_Parser(pattern).parse(), self._end)

    def matches(self, text: str) -> bool:
        """Tell whether the whole of `text` matches; False for one of more than MAX_TEXT_CHARS."""
        if len(text) > MAX_TEXT_CHARS:
            return False
        states = self._reached((self._start,), 0, len(text))
        for index, char in enumerate(text, 1):
            stepped = {
                target
                for state in states
                if isinstance(what := self._what[state], _Char) and what.test(char)
                for target in self._next[state]
            }
            if not stepped:
                return False
            states = self._reached(stepped, index, len(text))
        return self._end in states

    def _reached(self, states: Iterable[int], index: int, length: int) -> set[int]:
        """Return the states that follow without taking a character, themselves included."""
        found: set[int] = set()
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            if state in found:
                continue
            what = self._what[state]
            if isinstance(what, _Edge) and index != (0 if what.at_start else length):
                continue
            found.add(state)
            if not isinstance(what, _Char):
                waiting.extend(self._next[state])
        return found

    def _add(self, what: _Char | _Edge | None, following: tuple[int, ...]) -> int:
        if len(self._what) >= MAX_STATES:
            raise ValueError(f"repeats too much: more than {MAX_STATES} states")
        self._what.append(what)
        self._next.append(following)
        return len(self._what) - 1

    def _build(self, node: _Node, after: int) -> int:
        """Add the states of `node`, which go on at `after`; return where it begins."""
        match node:
            case _Char() | _Edge():
                return self._add(node, (after,))
            case _Sequence(parts):
                for part in reversed(parts):
                    after = self._build(part, after)
                return after
            case _Either(parts):
                return self._add(None, tuple(self._build(part, after) for part in parts))
            case _Repeat(part, least, None):
                loop = self._add(None, ())
                self._next[loop] = (self._build(part, loop), after)
                return self._build(_Sequence((part,) * least), loop)
            case _Repeat(part, least, int(most)):
                begin = after
                for _ in range(most - least):
                    begin = self._add(None, (self._build(part, begin), after))
                return self._build(_Sequence((part,) * least), begin)
        raise AssertionError(node)


class _Parser:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._ignore_case = pattern.startswith("(?i)")
        self._rest = pattern[4:] if self._ignore_case else pattern
        self._depth = 0

    def parse(self) -> _Node:
        node = self._either()
        if self._rest:
            raise ValueError("has a ) without its (")
        return node

    def _take(self, count: int = 1) -> str:
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def _either(self) -> _Node:
        parts = [self._sequence()]
        while self._rest.startswith("|"):
            self._take()
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Either(tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._rest and self._rest[0] not in "|)":
            parts.append(self._repeated(self._atom()))
        return _Sequence(tuple(parts))

    def _repeated(self, atom: _Node) -> _Node:
        bounds = self._bounds()
        if bounds is None:
            return atom
        if self._rest.startswith("?"):  # "lazy": the same when the whole text must match
            self._take()
        if self._bounds() is not None:
            raise ValueError("repeats a repetition: put the first one in ( )")
        return _Repeat(atom, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        sign = self._rest[:1]
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if sign in simple:
            self._take()
            return simple[sign]
        if sign != "{":
            return None
        inside, brace, _ = self._rest[1:].partition("}")
        low, comma, high = inside.partition(",")
        if not brace or not (low.isascii() and low.isdigit()) or (high and not (high.isascii() and high.isdigit())):
            raise ValueError("has a { that is no repetition: write \\{ for the character")
        least = int(low)
        most = (int(high) if high else None) if comma else least
        if (most is not None and most < least) or max(least, most or 0) > MAX_STATES:
            raise ValueError(f"repeats {{{inside}}}: not from few to many, {MAX_STATES} at most")
        self._take(len(inside) + 2)
        return least, most

    def _atom(self) -> _Node:
        char = self._take()
        if char == "(":
            return self._group()
        if char == "[":
            return _Char(self._set())
        if char == "\\":
            return _Char(self._escape())
        if char == ".":
            return _Char(lambda one: one != "\n")
        if char in "^$":
            return _Edge(at_start=char == "^")
        if char in "*+?{":
            raise ValueError(f"has a {char} with nothing to repeat")
        return _Char(self._within(char, char))

    def _within(self, low: str, high: str) -> _Test:
        if not self._ignore_case:
            return lambda one: low <= one <= high
        return lambda one: low <= one <= high or low <= one.lower() <= high or low <= one.upper() <= high

    def _group(self) -> _Node:
        if self._rest.startswith("?:"):
            self._take(2)
        elif self._rest.startswith("?"):
            raise ValueError("has a (? that is not known here: only (?: ) and, at the start, (?i)")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError(f"is nested deeper than {_MAX_DEPTH} groups")
        node = self._either()
        self._depth -= 1
        if self._take() != ")":
            raise ValueError("has a ( without its )")
        return node

    def _escape(self) -> _Test:
        char = self._take()
        if char.lower() in _CLASSES:
            test = _CLASSES[char.lower()]
            return (lambda one: not test(one)) if char.isupper() else test
        literal = self._escaped(char)
        return self._within(literal, literal)

    def _escaped(self, char: str) -> str:
        if char in _CONTROLS:
            return _CONTROLS[char]
        if not char or (char.isascii() and char.isalnum()):
            raise ValueError(f"has \\{char}, which is not known here")
        return char

    def _set(self) -> _Test:
        negated = self._rest.startswith("^")
        self._take(negated)
        tests: list[_Test] = []
        while not self._rest.startswith("]") or not tests:
            if not self._rest:
                raise ValueError("has a [ without its ]")
            if self._rest[0] == "\\" and self._rest[1:2].lower() in _CLASSES:
                self._take()
                tests.append(self._escape())
                continue
            low = high = self._member()
            if self._rest.startswith("-") and self._rest[1:2] not in ("]", ""):
                self._take()
                high = self._member()
            if high < low:
                raise ValueError(f"has the range {low}-{high}, which is backwards")
            tests.append(self._within(low, high))
        self._take()
        return lambda one: any(test(one) for test in tests) != negated

    def _member(self) -> str:
        char = self._take()
        return self._escaped(self._take()) if char == "\\" else char

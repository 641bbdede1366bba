"""Matchers: what a route compares an alert's labels with, in Alertmanager's syntax.

    severity="critical"    team!=night    instance=~"tank-[0-9]+"    {room="attic", kind!~"test|demo"}

A label that an alert does not have counts as empty, as in Alertmanager; regular
expressions match the whole value (`routes_regex`).

Source: Prometheus Alertmanager, "Configuration", section "Matchers".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from webhook.routes_regex import Regex

__all__ = ["Matcher", "parse_matchers"]

_OPERATORS = ("=~", "!~", "!=", "=")  # the longer ones first: "=~" begins with "="
_RESERVED = "{}!=~,\\\"'`"  # what neither a name nor a value without quotes may hold
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}
_MAX_CHARS = 1024


@dataclass(frozen=True, slots=True)
class Matcher:
    """One comparison.

    Attributes:
        name: of the label.
        operator: one of `=`, `!=`, `=~`, `!~`.
        value: what it is compared with.
        regex: the value of `=~` and `!~`, ready for use.
    """

    name: str
    operator: str
    value: str
    regex: Regex | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an alert with these labels passes."""
        label = labels.get(self.name, "")
        same = self.regex.matches(label) if self.regex else label == self.value
        return same != self.operator.startswith("!")

    def why_not(self, labels: Mapping[str, str]) -> str:
        """Say for people why an alert with these labels does not pass; "" when it does."""
        if self.matches(labels):
            return ""
        label = labels.get(self.name)
        return f"{self}, but {self.name} is " + (f'"{label}"' if label else "empty" if label == "" else "not there")

    def __str__(self) -> str:
        return f'{self.name}{self.operator}"{self.value}"'


def parse_matchers(text: str) -> list[Matcher]:
    """Return the matchers in `name="x"` or `{name="x", other=~"y"}`.

    Raises:
        ValueError: there are none; the message completes "'<text>' ...".
    """
    if len(text) > _MAX_CHARS:
        raise ValueError(f"is longer than {_MAX_CHARS} characters")
    rest = text.strip()
    if rest.startswith("{") != rest.endswith("}"):
        raise ValueError("has a brace without its other one")
    if rest.startswith("{"):
        rest = rest[1:-1].strip()
    found: list[Matcher] = []
    while rest:
        matcher, rest = _matcher(rest)
        found.append(matcher)
        if rest and not rest.startswith(","):
            raise ValueError(f"goes on with {rest[:20]!r} where a comma belongs")
        rest = rest[1:].lstrip()
    if not found:
        raise ValueError('is no matcher: write it as name="value", with =, !=, =~ or !~')
    return found


def _matcher(text: str) -> tuple[Matcher, str]:
    name, rest = _word(text, "a label's name")
    operator = next((one for one in _OPERATORS if rest.startswith(one)), None)
    if operator is None or not name:
        raise ValueError('is no matcher: write it as name="value", with =, !=, =~ or !~')
    value, rest = _word(rest[len(operator) :].lstrip(), "a value")
    try:
        regex = Regex(value) if operator.endswith("~") else None
    except ValueError as error:
        raise ValueError(f"holds a regular expression that {error}") from None
    return Matcher(name, operator, value, regex), rest


def _word(text: str, what: str) -> tuple[str, str]:
    """Return a quoted or bare word at the start of `text`, and what follows it."""
    if not text.startswith('"'):
        end = next((index for index, char in enumerate(text) if char in _RESERVED or char.isspace()), len(text))
        return text[:end], text[end:].lstrip()
    word: list[str] = []
    chars = enumerate(text[1:], 1)
    for index, char in chars:
        if char == '"':
            return "".join(word), text[index + 1 :].lstrip()
        if char == "\\":
            _, escaped = next(chars, (0, ""))
            # As in Alertmanager an unknown escape stays as it is: "\d" needs no second backslash.
            word.append(_ESCAPES.get(escaped, "\\" + escaped))
        else:
            word.append(char)
    raise ValueError(f"has {what} in quotes that are never closed")

"""Blocks of keys in a YAML file, and the problems that are found while they are read."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from service.document import Node, Problem, nearest

__all__ = ["Block", "Problems", "one_of"]

T = TypeVar("T")


class Problems:
    """Collects the problems of one file.

    Args:
        path: the file, as it was named.
        kind: what is collected: a Problem, or one that calls the file's entries something else than rules.

    Attributes:
        rule: the rule that is being read, "" outside the rules.
        found: the problems so far.
    """

    def __init__(self, path: str, kind: type[Problem] = Problem) -> None:
        self.rule = ""
        self.found: list[Problem] = []
        self._path = path
        self._kind = kind

    def add(self, line: int, key: str, text: str) -> None:
        """Add a problem of the rule that is being read."""
        self.found.append(self._kind(self._path, line, self.rule, key, text))

    def parsed(self, node: Node, key: str, parse: Callable[[str], T]) -> T | None:
        """Return what `parse` makes of one value, None (and a problem) when it raises ValueError or it is no value."""
        if not isinstance(node.value, str) or not node.value:
            self.add(node.line, key, f"is {node.kind}, where one value belongs")
            return None
        try:
            return parse(node.value)
        except ValueError as error:
            self.add(node.line, key, f"{node.shown} {error}")
            return None


class Block:
    """A block of keys. What is wrong with it is added to `problems`; what cannot be read is None.

    Args:
        node: the block.
        what: its name in messages ("a rule").
        allowed: the keys that it may hold.
        prefix: before its keys in messages ("no_data.").
    """

    def __init__(self, problems: Problems, node: Node, what: str, allowed: Sequence[str], prefix: str = "") -> None:
        self._problems = problems
        self._line = node.line
        self._prefix = prefix
        self._nodes: dict[str, Node] = {}
        if not isinstance(node.value, tuple):
            problems.add(node.line, prefix.rstrip("."), f"is {node.kind}, not a block of keys: {', '.join(allowed)}")
            return
        for key, line, value in node.value:
            if key not in allowed:
                problems.add(line, prefix + key, f"is not a key of {what}{nearest(key, allowed)}")
            elif key in self._nodes:
                problems.add(line, prefix + key, f"is written twice (first in line {self._nodes[key].line})")
            else:
                self._nodes[key] = value

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def __getitem__(self, key: str) -> Node:
        return self._nodes[key]

    def add(self, key: str, text: str) -> None:
        """Add a problem of a key, or of the block when it does not hold the key."""
        line = self._nodes[key].line if key in self._nodes else self._line
        self._problems.add(line, self._prefix + key, text)

    def shown(self, key: str) -> str:
        """Return the key's value in quotes, for messages."""
        return self._nodes[key].shown

    def required(self, key: str, parse: Callable[[str], T]) -> T | None:
        """Return what `parse` makes of the key's value; it is a problem when the key is missing."""
        if key not in self._nodes:
            self.add(key, "is missing")
        return self.optional(key, parse)

    def optional(self, key: str, parse: Callable[[str], T]) -> T | None:
        """Return what `parse` makes of the key's value, None without the key."""
        if key not in self._nodes:
            return None
        return self._problems.parsed(self._nodes[key], self._prefix + key, parse)


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Return a parser that takes one of `choices`."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is not one of {', '.join(choices)}{nearest(text, choices)}")
        return text

    return parse

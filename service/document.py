"""A YAML file as nodes that know their lines.

Nothing is converted: with YAML's own types `18:00` would be the number 1080,
`no` would be false and the device `0123` another one. Every scalar stays the
text that stands in the file.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import yaml

from service.errors import ServiceError

__all__ = ["DocumentError", "Node", "Problem", "nearest", "parse"]

_DEEPEST = 20


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake.

    Attributes:
        path: the file, as it was named.
        line: counts from 1; 0 when the file as a whole is meant.
        rule: the entry's name, or "#2" for one without a usable name; "" outside the entries.
        key: the key that is wrong, as "no_data.after"; "" when none is.
        text: the value in quotes and the rule that it breaks.
    """

    WORD: ClassVar[str] = "rule"  # what the file's entries are called

    path: str
    line: int
    rule: str
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        parts = [where, f"{self.WORD} {self.rule}" if self.rule else "", self.key, self.text]
        return ": ".join(part for part in parts if part)


class DocumentError(ServiceError):
    """A file that cannot be used.

    Attributes:
        problems: every mistake, in the order of the lines.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the file.

    Attributes:
        line: counts from 1.
        value: text, a list of nodes, or (key, line, node) triples for a mapping, in the order of the file.
    """

    line: int
    value: "str | list[Node] | tuple[tuple[str, int, Node], ...]"

    @property
    def kind(self) -> str:
        """Say what it is, for messages."""
        if isinstance(self.value, str):
            return "one value" if self.value else "empty"
        return "a list" if isinstance(self.value, list) else "a block of keys"

    @property
    def shown(self) -> str:
        """Return one value in quotes, for messages."""
        if not isinstance(self.value, str):
            return self.kind
        return "'" + (self.value if len(self.value) <= 60 else self.value[:57] + "...") + "'"


def nearest(word: str, words: Iterable[str]) -> str:
    """Return " (did you mean ...?)" with the word most like `word`, "" when none is."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def parse(text: str, path: str) -> Node:
    """Return the file's root.

    Raises:
        DocumentError: it is not YAML, or nested deeper than any file of ours.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        # A quote that is never closed is found at the end of the file, and is to be mended where it was opened.
        mark = getattr(error, "context_mark" if "end of stream" in what else "problem_mark", None)
        line = mark.line + 1 if mark else 0
        lines = text.splitlines()
        around = " ".join(lines[max(0, line - 2) : line])
        hint = ""
        if "{" in around:
            hint = '; a target with {device} needs quotes: "{device}/fan = 1"'
        elif "*" in around:
            hint = '; every device is written with quotes: "*"'
        raise DocumentError([Problem(path, line, "", "", f"is not YAML: {what}{hint}")]) from None
    if root is None:
        return Node(1, "")
    try:
        return _node(root, {}, 0)
    except ValueError as error:
        raise DocumentError([Problem(path, 0, "", "", str(error))]) from None


def _node(node: yaml.Node, known: dict[int, Node], depth: int) -> Node:
    """Return the node; `known` is keyed by identity, so that aliases of aliases are not written out again and again."""
    if id(node) in known:
        return known[id(node)]
    if depth > _DEEPEST:  # or an alias that holds itself
        raise ValueError(f"is nested deeper than {_DEEPEST} levels")
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        found = Node(line, "" if node.tag == "tag:yaml.org,2002:null" else node.value)
    elif isinstance(node, yaml.SequenceNode):
        found = Node(line, [_node(item, known, depth + 1) for item in node.value])
    else:
        pairs = []
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            pairs.append((str(name), key.start_mark.line + 1, _node(value, known, depth + 1)))
        found = Node(line, tuple(pairs))
    known[id(node)] = found
    return found

"""A YAML file as nodes that know their lines.

Nothing is converted: with YAML's own types `18:00` would be the number 1080,
`no` would be false and the device `0123` another one. Every scalar stays the
text that stands in the file.
"""

from dataclasses import dataclass

import yaml

from rules.errors import Problem, RulesError

__all__ = ["Node", "parse"]

_DEEPEST = 20


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


def parse(text: str, path: str) -> Node:
    """Return the file's root.

    Raises:
        RulesError: it is not YAML, or nested deeper than any rules file.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        lines = text.splitlines()
        around = " ".join(lines[max(0, line - 2) : line])
        hint = ""
        if "{" in around:
            hint = '; a target with {device} needs quotes: "{device}/fan = 1"'
        elif "*" in around:
            hint = '; every device is written with quotes: "*"'
        raise RulesError([Problem(path, line, "", "", f"is not YAML: {what}{hint}")]) from None
    if root is None:
        return Node(1, "")
    try:
        return _node(root, 0)
    except ValueError as error:
        raise RulesError([Problem(path, 0, "", "", str(error))]) from None


def _node(node: yaml.Node, depth: int) -> Node:
    # An alias may hold itself.
    if depth > _DEEPEST:
        raise ValueError(f"is nested deeper than {_DEEPEST} levels")
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        return Node(line, "" if node.tag == "tag:yaml.org,2002:null" else node.value)
    if isinstance(node, yaml.SequenceNode):
        return Node(line, [_node(item, depth + 1) for item in node.value])
    pairs = []
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        pairs.append((str(name), key.start_mark.line + 1, _node(value, depth + 1)))
    return Node(line, tuple(pairs))

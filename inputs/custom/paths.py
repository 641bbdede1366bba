"""Paths into JSON: `main.temp`, `sensors[0].value`, `"key.with.dots".x`."""

import re
from dataclasses import dataclass

__all__ = ["Pointer", "pointer"]

_STEP = re.compile(r'\.?(?:"((?:[^"\\]|\\.)+)"|([^.\[\]"]+))|\[(\d{1,4})\]')


@dataclass(frozen=True)
class Pointer:
    """A path.

    Attributes:
        text: as it stands in the file.
        steps: keys and indexes.
    """

    text: str
    steps: tuple[str | int, ...]

    def find(self, value: object) -> object:
        """Return what is there, None for nothing."""
        for step in self.steps:
            if isinstance(step, int):
                value = value[step] if isinstance(value, list) and step < len(value) else None
            else:
                value = value.get(step) if isinstance(value, dict) else None
        return value


def pointer(text: str) -> Pointer:
    """Return the path that a text spells.

    Raises:
        ValueError: the rule that it breaks.
    """
    steps: list[str | int] = []
    at = 0
    rest = text.removeprefix("$").removeprefix(".")
    while at < len(rest):
        found = _STEP.match(rest, at)
        if not found or found.end() == at:
            raise ValueError('is not a path like main.temp, sensors[0].value or "a key".x')
        quoted, key, index = found.groups()
        steps.append(int(index) if index else key or re.sub(r"\\(.)", r"\1", quoted))
        at = found.end()
    if not steps:
        raise ValueError("is an empty path")
    return Pointer(text, tuple(steps))

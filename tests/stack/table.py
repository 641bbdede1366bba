"""The stack's section of docs/fault-table.md: a row for each fault that the tests made, written from what they saw."""

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.fault_page import cells, section

__all__ = ["SECTION", "FaultTable", "Row", "promises"]

SECTION = "On the stack"
_HEAD = """\
From a run of `tests/stack/` on the stack as docker-compose.yml starts it; each
`make test-stack` makes the same faults and fails when one ends otherwise. Meanwhile a device publishes twenty readings
a second, a rule and an alert want both pins changed while the fault lasts, and the pins are read off the virtual
device.

*Seen*: seconds from the end of the fault (of a SIGKILL: from before it) until the pins were right, and until every
reading that the broker had acknowledged since the start of the run was in the store; then how many those were.

"""


@dataclass(frozen=True)
class Row:
    """A fault.

    Attributes:
        what: the service or the part.
        done: what was done to it.
        expected: what has to be true afterwards.
        seen: what was, with figures.
    """

    what: str
    done: str
    expected: str
    seen: str


@dataclass
class FaultTable:
    """The rows of a run, in its order."""

    rows: list[Row] = field(default_factory=list)

    def add(self, what: str, done: str, expected: str, seen: str) -> None:
        """Note what a test saw; called after its last assertion."""
        self.rows.append(Row(what, done, expected, seen))

    def page(self, images: str) -> str:
        """Return the section; `images` says which images ran."""
        lines = [f"Machine: {platform.system()} {platform.machine()}, {os.cpu_count()} cores. Images: {images}.", ""]
        lines += ["| what | done | expected | seen |", "|---|---|---|---|"]
        lines += [f"| {row.what} | {row.done} | {row.expected} | {row.seen} |" for row in self.rows]
        return _HEAD + "\n".join(lines) + "\n"


def promises(page: Path) -> list[tuple[str, str, str]]:
    """Return (what, done, expected) of each row of a page."""
    return [(row[0], row[1], row[2]) for row in cells(section(page, SECTION))]

"""What `pinloop rules check` asks: which rules a file holds, or every mistake in it."""

from dataclasses import dataclass
from pathlib import Path

from rules.errors import Problem, RulesError
from rules.load import load_rules
from rules.model import Rule

__all__ = ["Report", "check"]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a file: its rules, or (then there are none) its problems."""

    path: Path
    rules: list[Rule]
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether the file can be used."""
        return not self.problems


def check(path: Path) -> Report:
    """Return what is in the rules file at `path`; never raises for what the file says."""
    try:
        return Report(path, load_rules(path), [])
    except RulesError as error:
        return Report(path, [], error.problems)

"""What can be wrong with a rules file.

ServiceError(Exception)
  RulesError      the file has mistakes; `problems` lists all of them, not only the first
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import ServiceError

__all__ = ["Problem", "RulesError"]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake.

    Attributes:
        path: the file, as it was named.
        line: counts from 1; 0 when the file as a whole is meant.
        rule: the rule's name, or "#2" for one without a usable name; "" outside the rules.
        key: the key that is wrong, as "no_data.after"; "" when none is.
        text: the value in quotes and the rule that it breaks.
    """

    path: str
    line: int
    rule: str
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        parts = [where, f"rule {self.rule}" if self.rule else "", self.key, self.text]
        return ": ".join(part for part in parts if part)


class RulesError(ServiceError):
    """A rules file that cannot be used.

    Attributes:
        problems: every mistake, in the order of the lines.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)

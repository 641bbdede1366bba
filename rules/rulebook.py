"""The rulebook: the rules in force, and the file that they came from.

A file with a mistake never replaces rules that work: the old ones stay in
force, and the mistake is told in the log, in /readyz and in /rules.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from rules import metrics
from rules.errors import Problem, RulesError
from rules.load import load_rules
from rules.model import Rule
from service import logs
from service.watched_file import WatchedFile, mistakes

__all__ = ["Rulebook"]


class Rulebook:
    """Rules of a file.

    Args:
        path: the file.
        engines: rules of other engines are left out.

    Attributes:
        rules: those in force.
        problems: of the file as it is now; empty when it is what is in force.
        loaded_s: since when `rules` are in force, seconds since 1970.

    Raises:
        RulesError: the file has mistakes: at the start there are no older rules to go on with.
    """

    def __init__(self, path: Path, engines: Sequence[str]) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._engines = engines
        self._log = logs.get("rulebook")
        self._watched = WatchedFile(path)
        self._take(load_rules(path))

    def changed(self) -> bool:
        """Tell whether the file is worth reading again."""
        return self._watched.changed()

    def reload(self) -> bool:
        """Load the file again; return whether there are other rules now."""
        self._watched.tried()
        try:
            rules = load_rules(self.path)
        except RulesError as error:
            self.problems = error.problems
            metrics.RELOADS.labels("bad").inc()
            for problem in error.problems:
                self._log.error("mistake in the rules file", problem=str(problem))
            self._log.error("the old rules stay in force", rules=len(self.rules), mistakes=len(error.problems))
            return False
        self._take(rules)
        metrics.RELOADS.labels("ok").inc()
        return True

    def problem(self) -> str | None:
        """Say what is wrong with the file, None when its rules are in force; a check for `Health`."""
        return mistakes(self.problems, "rules", self.loaded_s)

    def _take(self, rules: Sequence[Rule]) -> None:
        self.rules = [rule for rule in rules if rule.engine in self._engines]
        self.problems = []
        self.loaded_s = time.time()
        elsewhere = [rule.name for rule in rules if rule.engine not in self._engines]
        names = [rule.name for rule in self.rules]
        self._log.info("rules in force", path=str(self.path), rules=names, elsewhere=elsewhere)

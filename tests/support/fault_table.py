"""Runs the tests that faults.toml names and writes what they saw into docs/fault-table.md.

`python -m tests.support.fault_table` runs them; `--write` writes when all passed; `--without WORD ...` leaves tests
whose name has one of the words out, and the page says so.
What a test has to tell beside "passed" it says with `record_property("seen", ...)`.
"""

import os
import platform
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.fault_page import PAGE, put
from tests.support.processes import ROOT

__all__ = ["NOT_TRIED_SECTION", "SECTION", "TRIED", "Results", "Row", "named", "not_tried", "table"]

SECTION = "On single parts"
NOT_TRIED_SECTION = "Not tried"
_HEAD = f"""\
From a run of the tests that are named, with mosquitto, MicroPython and Alertmanager as Debian has them; `make test` and
`make test-long` run each of them. *Seen*: how many cases passed, the longest one's seconds, and what the test measured.

Machine: {platform.system()} {platform.machine()}, {os.cpu_count()} cores, two tests at a time.

| fault | done | expected | seen | tests |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """A fault.

    Attributes:
        fault: what fails.
        done: what the tests do.
        expected: what has to be true.
        tests: file::function below tests/, or one case of it.
    """

    fault: str
    done: str
    expected: str
    tests: list[str]


_FILE = tomllib.loads(Path(__file__).with_name("faults.toml").read_text())
TRIED = [Row(**row) for row in _FILE["tried"]]


@dataclass
class Results:
    """A pytest plugin that keeps how each test ended.

    Attributes:
        outcomes: node id below tests/ -> "passed", "failed" or "skipped".
        took_s: node id -> seconds of its call.
        said: node id -> what it recorded.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    said: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one phase of one test."""
        node = report.nodeid.removeprefix("tests/")
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[node] = "failed" if report.failed else self.outcomes.get(node, report.outcome)
        if report.when == "call":
            self.took_s[node] = report.duration
            self.said[node] += [str(value) for key, value in report.user_properties if key == "seen"]

    def cases(self, tests: Iterable[str]) -> list[str]:
        """Return the node ids of the cases of tests."""
        return [node for test in tests for node in self.outcomes if node == test or node.startswith(f"{test}[")]

    def seen(self, row: Row) -> str:
        """Return the cell of a row."""
        cases = self.cases(row.tests)
        counts = {kind: sum(self.outcomes[case] == kind for case in cases) for kind in ("passed", "failed", "skipped")}
        counts["not run"] = sum(not self.cases([test]) for test in row.tests)
        parts = [f"{count} {kind}" for kind, count in counts.items() if count]
        longest_s = max((self.took_s.get(case, 0.0) for case in cases), default=0.0)
        said = [text for case in cases for text in self.said[case]]
        return "; ".join([", ".join(parts) + f", {longest_s:.1f} s", *said])


def named(rows: Iterable[Row] = TRIED) -> list[str]:
    """Return the tests of rows, each once."""
    return list(dict.fromkeys(test for row in rows for test in row.tests))


def table(results: Results) -> str:
    """Return the section of the rows that were run."""
    lines = [
        f"| {row.fault} | {row.done} | {row.expected} | {results.seen(row)} | {_shown(row.tests)} |" for row in TRIED
    ]
    return _HEAD + "\n".join(lines) + "\n"


def not_tried() -> str:
    """Return the section of what nobody tried."""
    return "| what | instead, or why |\n|---|---|\n" + "".join(
        f"| {one['what']} | {one['instead']} |\n" for one in _FILE["not_tried"]
    )


def _shown(tests: Sequence[str]) -> str:
    return " ".join(f"`{test}`" for test in tests)


def main(argv: Sequence[str]) -> int:
    """Run the tests; return pytest's exit code."""
    without = argv[argv.index("--without") + 1 :] if "--without" in argv else []
    tests = [f"tests/{test}" for test in named() if not any(word in test for word in without)]
    results = Results()
    os.chdir(ROOT)
    code = pytest.main(
        ["-q", "-rs", "-p", "no:cacheprovider", "-n", "2", "--dist", "worksteal", *tests], plugins=[results]
    )
    missing = [test for test in tests if not results.cases([test.removeprefix("tests/")])]
    if missing:
        print("did not run, see `pytest --collect-only`:", *missing, sep="\n  ", file=sys.stderr)
    if code == 0 and not missing and "--write" in argv:
        put(PAGE, SECTION, table(results))
        put(PAGE, NOT_TRIED_SECTION, not_tried())
    return int(code) or bool(missing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""docs/fault-table.md says what faults.toml says, of tests that exist."""

import ast

import pytest

from tests.support.fault_page import PAGE, cells, section
from tests.support.fault_table import NOT_TRIED_SECTION, SECTION, TRIED, named, not_tried
from tests.support.processes import ROOT


@pytest.mark.parametrize("test", named())
def test_every_test_that_is_named_exists(test: str):
    """A test that is renamed or goes away takes its proof with it."""
    file, _, name = test.partition("::")
    functions = {
        node.name for node in ast.parse((ROOT / "tests" / file).read_text()).body if isinstance(node, ast.FunctionDef)
    }
    assert name.partition("[")[0] in functions


def test_the_page_has_the_rows_of_the_file():
    """`make fault-table` writes it; what was seen is of that run."""
    rows = cells(section(PAGE, SECTION))
    assert [row[:3] for row in rows] == [[row.fault, row.done, row.expected] for row in TRIED]
    assert [row[4].replace("`", "").split(" ") for row in rows] == [row.tests for row in TRIED]
    assert section(PAGE, NOT_TRIED_SECTION) == not_tried()


def test_everything_on_the_page_passed():
    """What was not run is said to be that."""
    seen = [row[3] for row in cells(section(PAGE, SECTION))]
    assert [text for text in seen if "failed" in text or not (" passed, " in text or " not run, " in text)] == []

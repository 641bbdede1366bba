"""docs/fault-table.md: a section for each kind of run that writes into it; the others stay as they are."""

from pathlib import Path

from tests.support.processes import ROOT

__all__ = ["PAGE", "cells", "put", "section"]

PAGE = ROOT / "docs" / "fault-table.md"


def section(page: Path, heading: str) -> str:
    """Return what stands below the heading (of level 2), up to the next one."""
    _, _, rest = page.read_text().partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0].strip() + "\n"


def put(page: Path, heading: str, text: str) -> None:
    """Write a section in place of the one that has its heading."""
    before, found, rest = page.read_text().partition(f"\n## {heading}\n")
    if not found:
        raise ValueError(f"{page} has no section {heading!r}")
    _, more, after = rest.partition("\n## ")
    page.write_text(f"{before}{found}\n{text.strip()}\n{more}{after}")


def cells(text: str) -> list[list[str]]:
    """Return the rows of the tables in a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {number for number, line in enumerate(lines) for number in (number - 1, number) if line.startswith("|--")}
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for number, line in enumerate(lines)
        if number not in heads
    ]

"""Findings: what a check saw, how bad it is, and what to do about it. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["BROKEN", "LEVELS", "OK", "WARNING", "Finding", "as_object", "as_text", "broken", "fine", "warning"]

OK, WARNING, BROKEN = LEVELS = ("ok", "warning", "broken")


@dataclass(frozen=True)
class Finding:
    """What one check saw.

    Attributes:
        check: what was looked at: "broker", "webhook credentials", ...
        level: one of LEVELS.
        saw: one sentence.
        do: what to do about it; "" when nothing is to be done.
    """

    check: str
    level: str
    saw: str
    do: str = ""


def fine(check: str, saw: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(check, OK, saw)


def warning(check: str, saw: str, do: str) -> Finding:
    """Return a finding of something that works, and could be better or cannot be known."""
    return Finding(check, WARNING, saw, do)


def broken(check: str, saw: str, do: str) -> Finding:
    """Return a finding of something that does not work."""
    return Finding(check, BROKEN, saw, do)


def as_object(mode: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return all findings as one JSON object; `ok` is false when something is broken."""
    counts = _counts(findings)
    return {"ok": not counts[BROKEN], "mode": mode, "counts": counts, "findings": [asdict(one) for one in findings]}


def as_text(findings: Sequence[Finding]) -> str:
    """Return lines for people: level, check, what was seen, below it what to do; a summary at the end."""
    width = max((len(one.check) for one in findings), default=0)
    lines = []
    for one in findings:
        level = one.level.upper() if one.level == BROKEN else one.level
        lines.append(f"{level:<8} {one.check:<{width}}  {one.saw}")
        if one.do:
            lines.append(f"{'':<8} {'':<{width}}  -> {one.do}")
    counts = _counts(findings)
    lines += ["", f"{len(findings)} findings: " + ", ".join(f"{counts[level]} {level}" for level in LEVELS)]
    return "\n".join(lines)


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    return {level: sum(one.level == level for one in findings) for level in LEVELS}

"""What `pinloop rules render` and `check` do with Grafana's files: render over what is there, and look it through."""

from dataclasses import dataclass
from pathlib import Path

from rules.errors import Problem
from rules.grafana_check import rejected
from rules.grafana_diff import NotRendered, Rendering, rendering
from rules.model import Rule

__all__ = ["Report", "report", "write"]

_FILE = "rules.yaml"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        path: the rendered file, there or not.
        rendering: what it should be; None when what stands there cannot be built on.
        problems: what Grafana would reject with the new rendering in place.
    """

    path: Path
    rendering: Rendering | None
    problems: list[Problem]


def report(rules: list[Rule], folder: Path) -> Report:
    """Return what rendering `rules` into the provisioning's folder `alerting` would do; writes nothing."""
    path = folder / _FILE
    try:
        found = rendering(rules, path.read_text(encoding="utf-8") if path.exists() else "")
    except NotRendered as error:
        return Report(path, None, [Problem(str(path), 0, "", "", str(error))])
    except (OSError, UnicodeError) as error:
        return Report(path, None, [Problem(str(path), 0, "", "", f"cannot be read ({error})")])
    return Report(path, found, rejected(folder.parent, {path: found.text}))


def write(found: Report) -> None:
    """Write a rendering in one step, so that Grafana never reads half of it; keeps the file when it is current.

    Raises:
        OSError: it cannot be written.
    """
    if found.rendering is None or found.rendering.current:
        return
    found.path.parent.mkdir(parents=True, exist_ok=True)
    # Not in that folder: Grafana does not start with a file of another suffix there.
    part = found.path.parent.parent / f".{_FILE}.part"
    part.write_text(found.rendering.text, encoding="utf-8")
    part.replace(found.path)

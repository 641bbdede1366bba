"""What a service prints about itself: `--help`, the sample file and the table for the docs.

All three come from the same declarations, so they cannot say different things.
"""

import textwrap
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.settings import Declared

__all__ = ["help_text", "markdown_table", "sample", "version"]


def version() -> str:
    """Return the installed version."""
    return metadata.version("pinloop")


def help_text(service: str, about: str, known: Sequence["Declared"]) -> str:
    """Return what `python -m <service> --help` prints."""
    lines = [f"usage: python -m {service} [--config pinloop.toml] [--NAME VALUE ...]", "", about.strip(), ""]
    lines += [
        f"Every setting is also PINLOOP_{service.upper()}_NAME or PINLOOP_NAME in the environment, the same with _FILE",
        f"names a file that holds the value, and a key of the [{service}] table in the file given by --config.",
        "Flags win over the environment, the environment over the file.",
        "",
    ]
    for one in known:
        lines.append(f"  {one.flag} {_noun(one)}  (default: {_shown(one)})")
        lines += textwrap.wrap(one.help + _rule(one), 92, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines) + "\n"


def sample(service: str, known: Sequence["Declared"]) -> str:
    """Return the service's table of a `pinloop.toml`: a sentence and the commented default for each setting."""
    lines = [f"[{service}]"]
    for one in known:
        lines += textwrap.wrap(one.help + _rule(one), 92, initial_indent="## ", subsequent_indent="## ")
        lines += [f"# {one.name} = {_toml(one.default)}", ""]
    return "\n".join(lines)


def markdown_table(service: str, known: Sequence["Declared"]) -> str:
    """Return the service's settings as a Markdown table."""
    lines = ["| setting | variable | default | what it is |", "|---|---|---|---|"]
    for one in known:
        variable = one.variables(service)[0 if one.own else 1]
        lines.append(f"| `{one.name}` | `{variable}` | {_shown(one)} | {one.help}{_rule(one)} |")
    return "\n".join(lines) + "\n"


def _noun(one: "Declared") -> str:
    if one.choices:
        return "|".join(one.choices)
    return {int: "N", float: "X", bool: "true|false", Path: "PATH"}.get(one.kind, "TEXT")


def _rule(one: "Declared") -> str:
    if one.least is not None and one.most is not None:
        return f" From {one.least} to {one.most}."
    if one.least is not None:
        return f" At least {one.least}."
    return ""


def _shown(one: "Declared") -> str:
    text = str(one.default).lower() if isinstance(one.default, bool) else str(one.default)
    return "none" if text in ("", ".") else text


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    return '"' + ("" if text == "." else text) + '"'

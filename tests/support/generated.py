"""The files of the repository that are made by a command: `python -m tests.support.generated --write`.

tests/test_generated.py fails when one of them is not what its source says.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from pinloop.cli import main
from pinloop.config import SERVICES
from pinloop.doctor.target import StackSettings
from service.settings import declared

SETTINGS_HEAD = """\
# Settings

Made by `make docs` from the declarations. A setting is, in rising order: its default, a key in `pinloop.toml`
(`--config`), a variable (also with `_FILE`, naming a file that holds the value), a flag.
`PINLOOP_<SERVICE>_X` wins over `PINLOOP_X`. `pinloop config SERVICE` prints a sample file. A variable that begins with
`PINLOOP_` and that nothing reads is told at each start of a service and by the command, with the nearest name.
"""

ROOT = Path(__file__).resolve().parents[2]


def settings_page() -> str:
    """Return docs/settings.md, made from the declarations."""
    parts = [SETTINGS_HEAD]
    for service in SERVICES:
        parts += [f"\n## {service}\n\n", pinloop("config", service, "--markdown")]
    return "".join(parts)


def cli_page() -> str:
    """Return docs/cli.md, made from the commands' help."""
    parts = ["# The `pinloop` command\n\nMade by `make docs` from the commands' own help.\n"]
    commands: list[list[str]] = [[]]
    for name, command in main.commands.items():
        commands.append([name])
        commands += [[name, inner] for inner in getattr(command, "commands", {})]
    for words in commands:
        parts.append(f"\n## {' '.join(['pinloop', *words])}\n\n```\n{pinloop(*words, '--help')}```\n")
    return "".join(parts)


def pinloop(*words: str) -> str:
    """Return what `pinloop WORDS` prints."""
    result = CliRunner().invoke(main, list(words), prog_name="pinloop", env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return result.output


def setting_names() -> str:
    """Return service/setting_names.py: every service knows what the others are told by variables."""
    lines = [
        '"""The names of every service\'s settings. Made by `make docs` from the declarations."""',
        "",
        "SETTING_NAMES = {",
    ]
    declaring = {name: importlib.import_module(f"{name}.settings").Settings for name in SERVICES}
    for service, cls in {**declaring, "doctor": StackSettings}.items():
        lines += [f'    "{service}": (', *(f'        "{one.name}",' for one in declared(cls)), "    ),"]
    return "\n".join([*lines, "}"]) + "\n"


# path below the root -> what it should hold
GENERATED: dict[str, Callable[[], str]] = {
    "docs/settings.md": settings_page,
    "docs/cli.md": cli_page,
    "service/setting_names.py": setting_names,
}


if __name__ == "__main__":
    for name, make in GENERATED.items():
        if "--write" in sys.argv:
            (ROOT / name).write_text(make(), encoding="utf-8")
        print(name)

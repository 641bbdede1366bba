"""`pinloop rules`: look at a rules file before it decides anything."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pinloop.show import as_json, table

if TYPE_CHECKING:
    from rules.model import Rule

__all__ = ["rules"]


@click.group()
def rules() -> None:
    """The rules file.

    \b
    Example:
      pinloop rules check
      pinloop rules check greenhouse.yml
    """


@rules.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
              envvar="PINLOOP_DATA_DIR", help="Where rules.yml is looked for without PATH.")  # fmt: skip
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(ctx: click.Context, path: Path | None, data_dir: Path, json_wanted: bool) -> None:
    """Say which rules a file holds, or every mistake in it with its line; exit 1 when there is one.

    \b
    Example:
      pinloop rules check
      pinloop rules check greenhouse.yml
    """
    from rules.check import check as look

    report = look(path or data_dir / "rules.yml")
    if json_wanted:
        problems = [
            {"line": one.line, "rule": one.rule, "key": one.key, "text": one.text, "message": str(one)}
            for one in report.problems
        ]
        names = [rule.name for rule in report.rules]
        as_json({"ok": report.ok, "path": str(report.path), "rules": names, "problems": problems})
    elif report.ok:
        table(("rule", "engine", "fires when", "asks for"), [_row(rule) for rule in report.rules])
    if not report.ok:
        for problem in () if json_wanted else report.problems:
            click.echo(str(problem), err=True)
        ctx.exit(1)


def _row(rule: "Rule") -> tuple[str, str, str, str]:
    from rules.model import DEVICE, Condition

    if isinstance(rule.trigger, Condition):
        of = f"{rule.trigger.reduce} of {rule.trigger.over_s:g} s of " if rule.trigger.over_s else ""
        when = f"{of}{rule.trigger.sensor} {rule.trigger.when}"
    else:
        when = f"daily {rule.trigger.at:%H:%M} for {rule.trigger.lasts_s / 60:g} min"
    return rule.name, rule.engine, when, ", ".join(target.text(DEVICE) for target in rule.then)

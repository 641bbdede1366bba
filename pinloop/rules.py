"""`pinloop rules`: look at a rules file before it decides anything, and give Grafana its rules."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pinloop.errors import PinloopError
from pinloop.show import as_json, mistake, table

if TYPE_CHECKING:
    from rules.errors import Problem
    from rules.grafana_diff import Change
    from rules.grafana_report import Report
    from rules.model import Rule

__all__ = ["rules"]


@click.group()
def rules() -> None:
    """The rules file.

    \b
    Example:
      pinloop rules check
      pinloop rules check greenhouse.yml
      pinloop rules render
    """


_PROVISIONING = Path("grafana/provisioning/alerting")
_out = click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=_PROVISIONING,
                    show_default=True, help="Grafana's folder of alerting files.")  # fmt: skip


@rules.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
              envvar="PINLOOP_DATA_DIR", help="Where rules.yml is looked for without PATH.")  # fmt: skip
@_out
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(ctx: click.Context, path: Path | None, data_dir: Path, out: Path, json_wanted: bool) -> None:
    """Say what a rules file holds, or every mistake in it.

    With the line of each; exit 1 when there is one.

    Where Grafana's files are (--out), also what `render` would change there, and what Grafana would reject.

    \b
    Example:
      pinloop rules check
      pinloop rules check greenhouse.yml
    """
    from rules.check import check as look
    from rules.grafana_report import report as look_at_grafana

    report = look(path or data_dir / "rules.yml")
    grafana = look_at_grafana(report.rules, out) if report.ok and out.is_dir() else None
    problems = [*report.problems, *(grafana.problems if grafana else ())]
    if json_wanted:
        names = [rule.name for rule in report.rules]
        changes = [dataclasses.asdict(one) for one in _changes(grafana)]
        listed = [mistake(one) for one in problems]
        as_json({"ok": not problems, "path": str(report.path), "rules": names, "problems": listed, "grafana": changes})
    elif report.ok:
        table(("rule", "engine", "fires when", "asks for"), [_row(rule) for rule in report.rules])
        for change in _changes(grafana):
            click.echo(f"Grafana, with `pinloop rules render`: {change}")
    _end(ctx, [] if json_wanted else problems, bool(problems))


@rules.command()
@click.argument("path", type=click.Path(path_type=Path), required=False, envvar="RULES_FILE")
@_out
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit 1 when the file would change.")
@click.pass_context
def render(ctx: click.Context, path: Path | None, out: Path, only_check: bool) -> None:
    """Write the rules of `engine: grafana` for Grafana.

    As rules.yaml in --out.

    PATH: the rules file; without it $RULES_FILE, or the sample: what the stack mounts. A rule that is gone stays,
    paused: Grafana forgets none by itself. Restart Grafana afterwards.

    \b
    Example:
      pinloop rules render
      pinloop rules render greenhouse.yml --check
    """
    from rules.check import check as look
    from rules.grafana_report import report as look_at_grafana
    from rules.grafana_report import write

    report = look(path or Path("rules/sample.yml"))
    if not report.ok:
        _end(ctx, report.problems, True)
    found = look_at_grafana(report.rules, out)
    own = [problem for problem in found.problems if problem.path == str(found.path)]
    if found.rendering is None or own:
        _end(ctx, found.problems, True)
    stale = not found.rendering.current if found.rendering else False
    for change in _changes(found):
        click.echo(str(change))
    if only_check:
        click.echo(f"{found.path} {'is stale' if stale else 'is current'}")
    elif stale:
        try:
            write(found)
        except OSError as error:
            raise PinloopError(f"{found.path} cannot be written ({error.strerror})") from None
        click.echo(f"{found.path} written; restart Grafana (docker compose restart grafana)")
    else:
        click.echo(f"{found.path} is current")
    _end(ctx, found.problems, bool(found.problems) or (only_check and stale))


def _changes(report: "Report | None") -> "list[Change]":
    return report.rendering.changes if report and report.rendering else []


def _end(ctx: click.Context, problems: "Sequence[Problem]", failed: bool) -> None:
    for problem in problems:
        click.echo(str(problem), err=True)
    if failed:
        ctx.exit(1)


def _row(rule: "Rule") -> tuple[str, str, str, str]:
    from rules.model import DEVICE, Condition

    if isinstance(rule.trigger, Condition):
        of = f"{rule.trigger.reduce} of {rule.trigger.over_s:g} s of " if rule.trigger.over_s else ""
        when = f"{of}{rule.trigger.sensor} {rule.trigger.when}"
    else:
        when = f"daily {rule.trigger.at:%H:%M} for {rule.trigger.lasts_s / 60:g} min"
    return rule.name, rule.engine, when, ", ".join(target.text(DEVICE) for target in rule.then)

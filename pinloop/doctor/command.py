"""`pinloop doctor`: the command."""

import contextlib
import json
import sys
from pathlib import Path

import click

__all__ = ["doctor"]


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
              envvar="PINLOOP_DATA_DIR", help="Data folder of a running `pinloop up`.")  # fmt: skip
@click.option("--stack", is_flag=True, help="Examine the stack of docker-compose.yml; run it inside its network.")
@click.option("--json", "json_wanted", is_flag=True, help="Print one object: ok, mode, counts, findings.")
def doctor(data_dir: Path, stack: bool, json_wanted: bool) -> None:
    """Ask the running system whether everything works.

    Says what it saw and what to do: broker, rights, store, services, rules, credentials, Grafana, devices,
    clocks, disk. Takes about five seconds and changes nothing.

    \b
    Examples:
      pinloop doctor
      docker compose run --rm --no-deps --entrypoint "python -m pinloop" store-setup doctor --stack

    Exit codes: 0 nothing is broken, 1 something is, 2 wrong usage.
    """
    from pinloop.doctor.findings import as_object, as_text
    from pinloop.doctor.run import examine
    from pinloop.doctor.target import local_target, stack_target
    from service import logs
    from service.settings import LogSettings

    target = stack_target() if stack else local_target(data_dir)
    # The report is all there is on stdout, also when a library has something to say.
    with contextlib.redirect_stdout(sys.stderr):
        logs.setup("doctor", LogSettings(log_level="error", log_format="human"))
        findings = list(examine(target))
    found = as_object(target.mode, findings)
    click.echo(json.dumps(found) if json_wanted else as_text(findings))
    sys.exit(0 if found["ok"] else 1)

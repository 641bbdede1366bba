"""`pinloop up`: the whole loop on this machine until Ctrl-C."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pinloop.local.layout import Layout, Ports

__all__ = ["up"]

_PORT = click.IntRange(1, 65535)
# One address of several would be neither: the parts reach one another at 127.0.0.1.
_HERE, _EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104
_BIND = click.Choice([_HERE, _EVERYWHERE])


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
              envvar="PINLOOP_DATA_DIR", help="Where readings, claims, secrets and logs are kept.")  # fmt: skip
@click.option("--rules", "rules_path", type=click.Path(path_type=Path), default=None,
              help="The rules file; default: rules.yml in the data folder, made from a sample.")  # fmt: skip
@click.option("--bind", type=_BIND, default=_HERE, show_default=True,
              help="Address of the broker and the console; 0.0.0.0 lets boards of your own join.")  # fmt: skip
@click.option("--webhook-bind", type=_BIND, default=_HERE, show_default=True,
              help="Address of the webhook; 0.0.0.0 lets a Grafana or a phone elsewhere ask it.")  # fmt: skip
@click.option("--device", "own_devices", multiple=True, metavar="ID",
              help="Make a broker user for a board of your own (repeatable).")  # fmt: skip
@click.option("--no-virtual", is_flag=True, help="Do not run the two virtual devices.")
@click.option("--engine", type=click.Choice(["auto", "micropython", "cpython"]), default="auto", show_default=True,
              help="What runs the virtual devices' firmware.")  # fmt: skip
@click.option("--broker", type=click.Choice(["auto", "mosquitto", "embedded"]), default="auto", show_default=True,
              help="auto: mosquitto if it is installed, else one from pip.")  # fmt: skip
@click.option("--mqtt-port", type=_PORT, default=1883, show_default=True, help="Port of the broker.")
@click.option("--hub-port", type=_PORT, default=8080, show_default=True, help="Port of the console.")
@click.option("--webhook-port", type=_PORT, default=8081, show_default=True, help="Port of the webhook.")
@click.option("--listener-port", type=_PORT, default=8082, show_default=True, help="Port of the listener's health.")
@click.option("--rules-port", type=_PORT, default=8083, show_default=True, help="Port of the rules' health.")
def up(
    data_dir: Path,
    rules_path: Path | None,
    bind: str,
    webhook_bind: str,
    own_devices: tuple[str, ...],
    no_virtual: bool,
    engine: str,
    broker: str,
    **ports: int,
) -> None:
    """Run the whole loop on this machine.

    Starts broker, listener, rules, webhook, console and two virtual devices. Needs no Docker, no root
    and no other server. Ctrl-C stops everything and keeps the data.

    \b
    Examples:
      pinloop up
      pinloop up --bind 0.0.0.0 --device greenhouse     let a board called greenhouse join
      pinloop up --data-dir /srv/pinloop --hub-port 9000
    """
    from rich.console import Console

    from contract.errors import TopicError
    from contract.topics import check_device
    from pinloop.errors import PinloopError
    from pinloop.local.layout import Layout, Ports
    from pinloop.local.run import running_loop, tend_until
    from pinloop.local.screen import PlainScreen, Prober, Screen
    from service.stop import stop_on_signals

    layout = Layout(data_dir, rules_path or data_dir / "rules.yml")
    if rules_path and not rules_path.is_file():
        raise PinloopError(f"--rules: there is no file '{rules_path}'", "Leave --rules out to start with a sample.")
    numbers = Ports(**{name.removesuffix("_port"): port for name, port in ports.items()})
    try:
        devices = [check_device(device, "--device") for device in own_devices]
    except TopicError as error:
        raise PinloopError(str(error)) from None
    console = Console()
    stop = stop_on_signals()
    events: list[tuple[str, str]] = []
    with running_loop(
        layout, numbers, bind=bind, webhook_bind=webhook_bind, own_devices=devices,
        virtual=not no_virtual, engine=engine, broker=broker,
        on_event=lambda part, what: events.append((part, what)),
    ) as loop:  # fmt: skip
        header = _header(layout, numbers, bind, devices, loop.broker, loop.engine)
        if webhook_bind != _HERE:
            where = f"http://{_own_address()}:{numbers.webhook}/alert"
            header.append(("alerts", f"{where}   user: alerts   password: {_read(layout.password('alerts'))}"))
        screen_type = Screen if console.is_terminal else PlainScreen
        prober = Prober(loop.supervisor.runners)
        prober.start()

        def refresh() -> None:
            while events:
                screen.event(*events.pop(0))
            screen.refresh(loop.supervisor.runners, prober)

        with screen_type(console, header, f"Logs: {layout.logs}/") as screen:
            refresh()
            tend_until(loop, stop, refresh)
            if not console.is_terminal:
                screen.event("pinloop", "stopping")
        prober.over()
        console.print("Stopping ...", highlight=False)
    for part, what in events:
        console.print(f"{part}: {what}", markup=False, highlight=False)
    console.print(f"Stopped. The data is in {layout.data}/; start again with the same command.", highlight=False)
    sys.exit(0)


def _header(
    layout: "Layout", numbers: "Ports", bind: str, devices: Sequence[str], broker: str, engine: str
) -> list[tuple[str, str]]:
    """Return the lines above the table: where to go, with which password, and what runs underneath."""
    from pinloop.local.prepare import own_boards

    host = bind if bind == _HERE else _own_address()
    lines = [
        ("console", f"http://{host}:{numbers.hub}/   password: {_read(layout.password('console'))}"),
        ("MQTT", f"{host}:{numbers.mqtt}   {broker}"),
        ("firmware", f"{engine}{'' if engine != 'cpython' else ' (run `make micropython` for the real interpreter)'}"),
        ("rules", str(layout.rules)),
        ("data", f"{layout.data}/"),
    ]
    for device in devices:
        lines.append((f"board {device}", f"user: {device}   password: {_read(layout.password(device))}"))
    if earlier := sorted(set(own_boards(layout)) - set(devices)):
        lines.append(("let in", f"{', '.join(earlier)}   passwords: {layout.secrets}/ID.password"))
    elif bind != _HERE and not devices:
        lines.append(("boards", "name yours to get its broker password: --device ID"))
    return lines


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def _own_address() -> str:
    """Return the address that others reach this machine at; asks the routing table, sends nothing."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"

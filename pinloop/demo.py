"""`pinloop demo`: one turn of the loop, shown as a timeline, then everything is gone again."""

import json
import signal
import socket
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from pinloop.durations import Duration

if TYPE_CHECKING:
    from pinloop.local.layout import Layout, Ports
    from pinloop.turn import Turn

__all__ = ["demo"]

_SWEEP_S = 8.0
_ABOVE, _BELOW = 80, 70
_RULES = f"""\
version: 1
rules:
  - name: too-bright
    when: pot > {_ABOVE}
    clear: pot < {_BELOW}
    then: [lights/red = 1, lights/green = 0]
"""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object: ok, steps (name, at_ms), missing.")
@click.option("--deadline", "deadline_s", type=Duration(most_s=120), default="12s", show_default=True,
              help="How long a step may take after the one before.")  # fmt: skip
@click.option("--engine", type=click.Choice(["auto", "micropython", "cpython"]), default="auto", show_default=True,
              help="What runs the virtual devices' firmware.")  # fmt: skip
@click.option("--broker", type=click.Choice(["auto", "mosquitto", "embedded"]), default="auto", show_default=True,
              help="auto: mosquitto if it is installed, else one from pip.")  # fmt: skip
def demo(as_json: bool, deadline_s: int, engine: str, broker: str) -> None:
    """Show one turn of the loop, then stop.

    Runs the loop in a temporary folder until a full turn was seen, and prints it as a timeline.
    A virtual potentiometer rises above 80 %: its reading is stored, an alert fires, the webhook makes a claim and
    sends a command, a virtual device switches a pin and reports it. The reading falls below 70 %, the alert resolves,
    and the pin goes back. Takes less than 30 seconds, needs no terminal, leaves nothing behind.

    Exit codes: 0 the turn was seen, 1 a step did not come (it is named), 2 wrong usage.
    """
    from pinloop.local.layout import Layout, Ports
    from pinloop.local.run import running_loop

    # SIGTERM ends the demo the way Ctrl-C does, through the `with` blocks that stop the parts.
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="pinloop-demo-") as folder:
        layout = Layout(Path(folder) / "data", Path(folder) / "rules.yml")
        layout.rules.write_text(_RULES, encoding="utf-8")
        ports = Ports(*_free_ports(5))
        if not as_json:
            click.echo("Starting broker, listener, rules, webhook, console and two virtual devices ...")
        with running_loop(layout, ports, sweep_s=_SWEEP_S, engine=engine, broker=broker) as loop:
            if not as_json:
                click.echo(f"Broker: {loop.broker}. Firmware runs on: {loop.engine}.")
                click.echo(f"Waiting for the potentiometer to pass {_ABOVE} % and come back ...")
            turn = _observe(layout, ports, deadline_s, loop.tend)
            hint = "" if turn.missing is None else _last_lines(loop.supervisor.runners)
    if as_json:
        steps = [{"name": step.name, "at_ms": step.at_ms} for step in turn.steps]
        click.echo(json.dumps({"ok": turn.missing is None, "steps": steps, "missing": turn.missing}))
    else:
        _print(turn, deadline_s, hint)
    sys.exit(0 if turn.missing is None else 1)


def _observe(layout: "Layout", ports: "Ports", deadline_s: float, tend: Any) -> "Turn":
    from pinloop.turn import Watch
    from service import logs
    from service.mqtt import Session
    from service.settings import LogSettings, MqttSettings
    from store import StoreSettings, open_store

    def secret(name: str) -> str:
        return layout.password(name).read_text(encoding="ascii").strip()

    logs.setup("demo", LogSettings(log_level="error"))  # the timeline is all there is to say
    store = open_store(StoreSettings(store_url=f"sqlite:{layout.store}"))
    webhook = _Webhook(ports.webhook, secret("operator"))

    def stored(value: float) -> bool:
        return bool(layout.store.exists()) and store.latest("pot").get("pot", (None, 0))[0] == value

    watch = Watch(("pot", "pot"), _ABOVE, _BELOW, ("lights", "red"), stored, webhook.alert)
    settings = MqttSettings(mqtt_port=ports.mqtt, mqtt_user="svc.hub", mqtt_password=secret("svc.hub"))
    session = Session(settings, "demo", subscriptions=[(one, 1) for one in watch.filters], on_message=watch.message)
    session.start()
    try:
        return watch.wait(deadline_s, tend)
    finally:
        session.stop()
        webhook.close()
        store.close()


class _Webhook:
    """Asks the webhook for the demo's one alert."""

    def __init__(self, port: int, password: str) -> None:
        import urllib3

        headers = urllib3.make_headers(basic_auth=f"operator:{password}")
        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", port, headers=headers, retries=False, timeout=1.0)

    def alert(self) -> tuple[float | None, float | None, float | None]:
        """Return when the alert fired, was claimed and resolved, in seconds since 1970."""
        import urllib3

        try:
            alerts = self._pool.request("GET", "/alerts").json()["alerts"]
            changes = self._pool.request("GET", "/pins/lights/red/why").json()["changes"]
        except (urllib3.exceptions.HTTPError, ValueError, KeyError):
            return None, None, None  # not up yet
        fired_s = next((alert["starts_at"] for alert in alerts), None)
        resolved_s = next((alert["seen_s"] for alert in alerts if alert["status"] == "resolved"), None)
        claimed_s = next((change["at_s"] for change in changes if change["value"] == 1), None)
        return fired_s, claimed_s, resolved_s

    def close(self) -> None:
        self._pool.close()


def _print(turn: "Turn", deadline_s: float, hint: str) -> None:
    from pinloop.turn import STEPS

    explained = dict(STEPS)
    click.echo("")
    for step in sorted(turn.steps, key=lambda step: step.at_ms):
        click.echo(f"  {step.at_ms:>9,.1f} ms  {step.name:<24} {explained[step.name]}")
    click.echo("")
    if turn.missing is None:
        click.echo("The loop closes: from a reading to a pin, and back to its default. Run it with `pinloop up`.")
    else:
        click.echo(f"'{turn.missing}' did not come within {deadline_s:g} s: {explained[turn.missing]}.", err=True)
        click.echo(f"What the parts said last:\n{hint}", err=True)


def _last_lines(runners: Any) -> str:
    return "\n".join(f"  {runner.part.name}: {runner.last_line() or runner.ended or '(nothing)'}" for runner in runners)


def _free_ports(count: int) -> list[int]:
    """Return different ports that are free now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt

"""What `pinloop up` shows: a live table on a terminal, plain lines elsewhere.

Reads the parts' health and metrics over HTTP on a thread of its own, so that a
part that hangs cannot hold up the supervisor.
"""

import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import datetime

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pinloop.local.readiness import why_not_ready
from pinloop.local.supervisor import Runner

__all__ = ["PlainScreen", "Prober", "Screen", "state_of"]

# part -> (metric, what it counts, what one of them is called); summed over its labels.
_DOING = {
    "listener": (
        ("listener_points_stored_total", "points stored", "point stored"),
        ("listener_dead_letters_total", "dead letters", "dead letter"),
    ),
    "rules": (
        ("rules_readings_evaluated_total", "readings evaluated", "reading evaluated"),
        ("rules_alerts_firing", "firing", "firing"),
    ),
    "webhook": (
        ("webhook_claims", "claims", "claim"),
        ("webhook_commands_published_total", "commands sent", "command sent"),
    ),
    "hub": (("hub_event_streams", "pages open", "page open"),),
}

# A device's last line is shown for so long: what it said before its link came back is not what it does now.
_NEWS_S = 20.0
# So long a part that is not ready yet is "starting" and no reason to worry.
_STARTING_S = 10.0
_STYLES = {"ready": "green", "running": "green", "starting": "yellow", "not ready": "yellow", "restarting": "red"}


class Prober(threading.Thread):
    """Asks each part once a second whether it is ready and what it is doing."""

    def __init__(self, runners: Sequence[Runner]) -> None:
        super().__init__(name="prober", daemon=True)
        self._runners = [runner for runner in runners if runner.part.ready_url]
        self.ready: dict[str, bool] = {}
        self.doing: dict[str, str] = {}
        self._over = threading.Event()

    def run(self) -> None:
        """Ask until `over`."""
        while not self._over.is_set():
            for runner in self._runners:
                self.ready[runner.part.name], self.doing[runner.part.name] = _ask(
                    runner.part.name, runner.part.ready_url
                )
            self._over.wait(1.0)

    def over(self) -> None:
        """End the thread."""
        self._over.set()
        self.join(3)


def state_of(runner: Runner, prober: Prober) -> tuple[str, str]:
    """Return (state, what it is doing) of a part; state is ready, running, starting, not ready or restarting."""
    name = runner.part.name
    if not runner.alive:
        wait_s = max(0.0, runner.starts_again_at_s - time.monotonic())
        return "restarting", f"in {wait_s:.0f} s: {runner.ended}"
    if not runner.part.ready_url:
        news = runner.last_line() if name.startswith("device") and runner.silent_s() < _NEWS_S else ""
        return "running", "" if ": started with" in news else news  # by what is said above the table
    if prober.ready.get(name):
        return "ready", prober.doing[name]
    if runner.age_s < _STARTING_S:
        return "starting", ""
    return "not ready", prober.doing.get(name, "")


def _ask(name: str, ready_url: str) -> tuple[bool, str]:
    if problem := why_not_ready(ready_url):
        return False, problem
    try:
        with urllib.request.urlopen(ready_url.replace("/readyz", "/metrics"), timeout=1) as answer:  # noqa: S310
            return True, _doing(name, answer.read().decode())
    except (OSError, ValueError) as error:
        return False, str(error)


def _doing(name: str, metrics: str) -> str:
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return ", ".join(
        f"{totals[metric]:,.0f} {one if totals[metric] == 1 else many}"
        for metric, many, one in _DOING.get(name, ())
        if metric in totals
    )


class PlainScreen:
    """One line per event, for pipes and logs."""

    def __init__(self, console: Console, header: Sequence[tuple[str, str]], *_: object) -> None:
        self._console = console
        for key, value in header:
            console.print(f"{key + ':':<12} {value}", markup=False, highlight=False, soft_wrap=True)
        self._said: dict[str, str] = {}

    def __enter__(self) -> "PlainScreen":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def event(self, part: str, what: str) -> None:
        """Print one event with its time."""
        now = datetime.now().astimezone()
        self._console.print(f"{now:%H:%M:%S} {part}: {what}", markup=False, highlight=False, soft_wrap=True)

    def refresh(self, runners: Sequence[Runner], prober: Prober) -> None:
        """Print the parts whose state changed."""
        for runner in runners:
            state, doing = state_of(runner, prober)
            if self._said.get(runner.part.name) != state and state != "restarting":
                where = f" on {runner.part.address}" if runner.part.address else ""
                self.event(runner.part.name, state + where + (f": {doing}" if state == "not ready" else ""))
            self._said[runner.part.name] = state


class Screen:
    """The live table."""

    def __init__(self, console: Console, header: Sequence[tuple[str, str]], log_hint: str) -> None:
        self._header = header
        self._log_hint = log_hint
        self._events: list[str] = []
        self._body: Callable[[], Group] = lambda: Group()
        self._live = Live(console=console, refresh_per_second=4, get_renderable=lambda: self._body())

    def __enter__(self) -> "Screen":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def event(self, part: str, what: str) -> None:
        """Keep the last few events below the table."""
        self._events = [*self._events, f"{datetime.now().astimezone():%H:%M:%S} {part}: {what}"][-4:]

    def refresh(self, runners: Sequence[Runner], prober: Prober) -> None:
        """Show the parts as they are now."""
        self._body = lambda: self._draw(runners, prober)

    def _draw(self, runners: Sequence[Runner], prober: Prober) -> Group:
        head = Table.grid(padding=(0, 2))
        for key, value in self._header:
            head.add_row(Text(key, style="dim"), Text(value, overflow="fold"))
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True)
        for title, width in (("part", 13), ("state", 10), ("address", 14)):
            table.add_column(title, no_wrap=True, min_width=width)
        table.add_column("doing", overflow="fold", ratio=1)
        for runner in runners:
            state, doing = state_of(runner, prober)
            restarts = f" ({runner.restarts}x)" if runner.restarts else ""
            style = _STYLES[state]
            table.add_row(runner.part.name, Text(state + restarts, style=style), runner.part.address, Text(doing))
        lines = [Text(event, style="dim", no_wrap=True, overflow="ellipsis") for event in self._events]
        hint = Text(f"Ctrl-C stops everything and keeps the data.  {self._log_hint}", style="dim")
        return Group(Panel(head, title="Pinloop", title_align="left"), table, Text(), *lines, hint)

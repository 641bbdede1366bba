"""Runs local mode: lock, checks, preparation, supervisor, screen, an orderly stop."""

import contextlib
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import firmware.sim.engine
from pinloop.errors import PinloopError
from pinloop.local.instance import check_ports, describe, locked
from pinloop.local.layout import Layout, Ports
from pinloop.local.parts import device_part, find_mosquitto, loop_parts
from pinloop.local.prepare import VIRTUAL_DEVICES, prepare
from pinloop.local.supervisor import Supervisor

__all__ = ["Loop", "running_loop", "tend_until"]


@dataclass
class Loop:
    """The loop as it runs.

    Attributes:
        supervisor: keeps the parts running.
        broker: which broker runs, for people.
        engine: what runs the devices' firmware, for people.
    """

    supervisor: Supervisor
    broker: str
    engine: str


@contextlib.contextmanager
def running_loop(
    layout: Layout,
    ports: Ports,
    *,
    bind: str = "127.0.0.1",
    own_devices: Sequence[str] = (),
    sweep_s: float = 40.0,
    virtual: bool = True,
    engine: str = "auto",
    on_event: Callable[[str, str], None] = lambda _part, _what: None,
) -> Iterator[Loop]:
    """Run the loop for the length of a `with` block; nothing of it is left afterwards.

    Args:
        layout: the data folder.
        ports: where to listen; all must be free.
        bind: address of the broker and the console.
        own_devices: device ids of the user's boards, which get a broker user.
        sweep_s: period of the virtual potentiometer, in seconds.
        virtual: run the two virtual devices.
        engine: "auto", "micropython" or "cpython".
        on_event: called with (part, what happened).

    Raises:
        PinloopError: the folder is in use or cannot be used, or a port is taken.
    """
    mosquitto = find_mosquitto()
    with locked(layout):
        check_ports(ports, bind)
        try:
            prepare(layout, ports, bind, own_devices, sweep_s, embedded=mosquitto is None)
        except OSError as error:
            raise PinloopError(
                f"--data-dir: '{error.filename or layout.data}' cannot be written ({error.strerror})",
                "Check its owner and the free space, or choose another --data-dir.",
            ) from None
        parts = loop_parts(layout, ports, bind, mosquitto)
        found = firmware.sim.engine.find(engine) if virtual else None
        parts += [device_part(layout, device, engine) for device in VIRTUAL_DEVICES] if virtual else []
        supervisor = Supervisor(parts, layout.logs, on_event)
        try:
            waits = {parts[1].name: lambda: _accepts(ports.mqtt)}
            # A broker acknowledges readings that nobody has subscribed to: the very first ones wait for the listener.
            waits |= {parts[5].name: lambda: _ready(ports.listener)} if virtual else {}
            stuck = supervisor.start(waits)
            if stuck:
                late = supervisor.runners[0 if stuck == parts[1].name else 2]
                raise PinloopError(f"the {late.part.name} did not start: {late.last_line()}", f"Its log is {late.log}.")
            describe(layout, ports)
            broker_name = "mosquitto" if mosquitto else "amqtt (embedded; install mosquitto for real use)"
            yield Loop(supervisor, broker_name, found.name if found else "none")
        finally:
            # amqtt keeps no session: give the listener the moment it needs for what the devices sent last.
            supervisor.stop(pause_s={0: 0.0 if mosquitto else 0.5})


def tend_until(loop: Loop, stop: threading.Event, refresh: Callable[[], None]) -> None:
    """Look after the parts, and call `refresh`, a few times a second until `stop` is set."""
    while not stop.wait(0.2):
        loop.supervisor.tend()
        refresh()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
            return True
    except OSError:
        return False


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.5):
            return True
    except OSError:
        return False

"""Runs local mode: lock, checks, preparation, supervisor, screen, an orderly stop."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import firmware.sim.engine
from pinloop.errors import PinloopError
from pinloop.local.instance import check_ports, describe, locked
from pinloop.local.layout import Layout, Ports
from pinloop.local.parts import device_part, find_mosquitto, loop_parts
from pinloop.local.prepare import VIRTUAL_DEVICES, prepare
from pinloop.local.readiness import why_not_ready
from pinloop.local.supervisor import Supervisor

__all__ = ["Loop", "running_loop", "tend_until"]


class Loop:
    """The loop as it runs.

    Attributes:
        supervisor: keeps the parts running.
        broker: which broker runs, for people.
        engine: what runs the devices' firmware, for people.
    """

    def __init__(self, supervisor: Supervisor, ports: Ports, mosquitto: bool, engine: str) -> None:
        self.supervisor = supervisor
        self.broker = "mosquitto" if mosquitto else "amqtt (embedded; install mosquitto for real use)"
        self.engine = engine
        self._ports = ports
        self._mosquitto = mosquitto
        self._saved_pid = 0
        self._asks_again_at_s = 0.0

    def tend(self) -> None:
        """Look after every part once; call it a few times a second."""
        self.supervisor.tend()
        if self._mosquitto and time.monotonic() >= self._asks_again_at_s:
            self._asks_again_at_s = time.monotonic() + 0.5
            self.keeps_readings()

    def keeps_readings(self) -> bool:
        """Tell whether the broker holds readings for the listener from now on, also over a crash of its own.

        A broker acknowledges readings that nobody has subscribed to, so the listener must be there first. And a
        mosquitto that crashes before it has saved the listener's session (it saves every 10 s) comes back without: it
        is asked to save now.
        """
        broker = self.supervisor.runners[0].process
        if broker is None or (broker.pid != self._saved_pid and why_not_ready(_readyz(self._ports.listener))):
            return False
        if self._mosquitto and broker.pid != self._saved_pid:
            broker.send_signal(signal.SIGUSR1)
            self._saved_pid = broker.pid
        return True


@contextlib.contextmanager
def running_loop(
    layout: Layout,
    ports: Ports,
    *,
    bind: str = "127.0.0.1",
    webhook_bind: str = "127.0.0.1",
    own_devices: Sequence[str] = (),
    sweep_s: float = 40.0,
    virtual: bool = True,
    engine: str = "auto",
    broker: str = "auto",
    on_event: Callable[[str, str], None] = lambda _part, _what: None,
) -> Iterator[Loop]:
    """Run the loop for the length of a `with` block; nothing of it is left afterwards.

    Args:
        layout: the data folder.
        ports: where to listen; all must be free.
        bind: address of the broker and the console.
        webhook_bind: address of the webhook.
        own_devices: device ids of the user's boards, which get a broker user.
        sweep_s: period of the virtual potentiometer, in seconds.
        virtual: run the two virtual devices.
        engine: "auto", "micropython" or "cpython".
        broker: "auto" (mosquitto if it is there), "mosquitto" or "embedded".
        on_event: called with (part, what happened).

    Raises:
        PinloopError: the folder is in use or cannot be used, a port is taken, or a wanted program is not here.
    """
    mosquitto = find_mosquitto() if broker != "embedded" else None
    if broker == "mosquitto" and mosquitto is None:
        raise PinloopError("--broker: mosquitto is not installed", "apt install mosquitto, or leave --broker out.")
    with locked(layout):
        check_ports(ports, bind, webhook_bind)
        try:
            inputs = prepare(layout, ports, bind, own_devices, sweep_s, embedded=mosquitto is None)
        except OSError as error:
            raise PinloopError(
                f"--data-dir: '{error.filename or layout.data}' cannot be written ({error.strerror})",
                "Check its owner and the free space, or choose another --data-dir.",
            ) from None
        parts = loop_parts(layout, ports, bind, webhook_bind, mosquitto, bool(inputs.gateways))
        found = _engine(engine) if virtual else None
        parts += [device_part(layout, device, engine) for device in VIRTUAL_DEVICES] if virtual else []
        supervisor = Supervisor(parts, layout.logs, on_event)
        loop = Loop(supervisor, ports, mosquitto is not None, found.name if found else "none")
        # part -> what must be true before it starts, and the part that makes it true
        needs = {"webhook": (lambda: _accepts(ports.mqtt), "broker")}
        if virtual:
            needs[f"device {next(iter(VIRTUAL_DEVICES))}"] = (loop.keeps_readings, "listener")
        try:
            stuck = supervisor.start({part: probe for part, (probe, _) in needs.items()})
            if stuck:
                late = next(one for one in supervisor.runners if one.part.name == needs[stuck][1])
                why = why_not_ready(late.part.ready_url) if late.alive and late.part.ready_url else late.last_line()
                raise PinloopError(f"the {late.part.name} did not start: {why}", f"Its log is {late.log}.")
            describe(layout, ports)
            yield loop
        finally:
            # amqtt keeps no session: give the listener the moment it needs for what the devices sent last.
            supervisor.stop(pause_s={0: 0.0 if mosquitto else 0.5})


def tend_until(loop: Loop, stop: threading.Event, refresh: Callable[[], None]) -> None:
    """Look after the parts, and call `refresh`, a few times a second until `stop` is set."""
    while not stop.wait(0.2):
        loop.tend()
        refresh()


def _engine(wanted: str) -> firmware.sim.engine.Engine:
    try:
        return firmware.sim.engine.find(wanted)
    except firmware.sim.engine.EngineError as error:
        raise PinloopError(f"--engine: {error}") from None


def _readyz(port: int) -> str:
    return f"http://127.0.0.1:{port}/readyz"


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.5):
            return True
    except OSError:
        return False

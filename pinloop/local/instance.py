"""One instance per data folder: the lock, the checks before anything starts, and `running.json`."""

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinloop.errors import PinloopError
from pinloop.local.layout import Layout, Ports

__all__ = ["check_ports", "describe", "is_locked", "locked"]


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Hold the data folder for the length of a `with` block; make it when only its last level is missing.

    The kernel drops the lock when the process dies, so a stale file never blocks a start.

    Raises:
        PinloopError: the folder cannot be made or written, or another instance holds it.
    """
    try:
        layout.data.mkdir(exist_ok=True)
        lock = layout.lock.open("a+")
    except FileNotFoundError:
        raise PinloopError(
            f"--data-dir: '{layout.data}' cannot be made: there is no folder '{layout.data.parent}'",
            "Make that folder first, or choose another --data-dir.",
        ) from None
    except OSError as error:
        raise PinloopError(
            f"--data-dir: '{layout.data}' cannot be used ({os.strerror(error.errno or 0)})",
            "Choose another --data-dir.",
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise PinloopError(
                f"pinloop already runs on '{layout.data}' (process {lock.read().strip() or 'unknown'})",
                "Stop it with Ctrl-C in its terminal, or choose another --data-dir and other ports.",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            layout.running.unlink(missing_ok=True)
            lock.truncate(0)


def is_locked(layout: Layout) -> bool:
    """Tell whether an instance holds the data folder; changes nothing."""
    try:
        with layout.lock.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def check_ports(ports: Ports, bind: str, webhook_bind: str) -> None:
    """Check that every port can be listened on, before anything starts.

    Raises:
        PinloopError: names the port that is taken and the option that moves it.
    """
    addresses = {"mqtt-port": bind, "hub-port": bind, "webhook-port": webhook_bind}
    for option, port in ports.named().items():
        address = addresses.get(option, "127.0.0.1")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise PinloopError(
                        f"port {port} is taken by another program",
                        f"Stop it, or choose another with --{option} {port + 10000}.",
                    ) from None
                raise PinloopError(
                    f"cannot listen on {address}:{port} ({os.strerror(error.errno or 0)})",
                    f"Check --bind and --{option}.",
                ) from None


def describe(layout: Layout, ports: Ports) -> None:
    """Write `running.json`, by which other commands find this instance."""
    facts: dict[str, Any] = {
        "pid": os.getpid(),
        "hub_url": f"http://127.0.0.1:{ports.hub}",
        "webhook_url": f"http://127.0.0.1:{ports.webhook}",
        "console_password_file": str(layout.password("console").resolve()),
        "mqtt": {"host": "127.0.0.1", "port": ports.mqtt},
        "services": {
            name: f"http://127.0.0.1:{getattr(ports, name)}" for name in ("listener", "rules", "webhook", "hub")
        },
        "rules_path": str(layout.rules.resolve()),
    }
    temporary = layout.running.with_suffix(".tmp")
    temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    Path(temporary).replace(layout.running)

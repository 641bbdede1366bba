"""This machine: is an instance running, is there room on the disk, what runs the virtual devices."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator

from firmware.sim.engine import EngineError, find
from pinloop.doctor.findings import Finding, broken, fine, warning
from pinloop.doctor.target import Target
from pinloop.local.instance import is_locked
from pinloop.local.parts import find_mosquitto

__all__ = ["check_disk", "check_instance", "check_programs", "check_secrets"]

_TIGHT_BYTES, _FULL_BYTES = 1_000_000_000, 100_000_000


def check_instance(target: Target) -> Iterator[Finding]:
    """Say whether `pinloop up` runs on the data folder."""
    if target.layout is None:
        return
    held = is_locked(target.layout)
    if not target.layout.data.is_dir():
        saw = f"There is no folder '{target.layout.data}'."
        yield broken("instance", saw, "Start with `pinloop up`, or name the folder with --data-dir.")
    elif not held and target.facts:
        yield broken(
            "instance",
            f"'{target.layout.data}' describes an instance that has died (process {target.facts.get('pid')}).",
            "Start `pinloop up` again: it finds everything as it was.",
        )
    elif not held:
        yield broken("instance", f"No Pinloop runs on '{target.layout.data}'.", "Start it: `pinloop up`.")
    elif not target.services:
        yield broken(
            "instance",
            f"'{target.layout.data}' is in use and does not say where its services are.",
            "It is still starting, or of an older version: wait some seconds, or stop and start `pinloop up`.",
        )
    else:
        yield fine("instance", f"`pinloop up` runs on '{target.layout.data}' (process {target.facts.get('pid')}).")


def check_secrets(target: Target) -> Iterator[Finding]:
    """Say which secrets cannot be read; the doctor's own broker user is made at the next start."""
    away = {name: why for name, why in target.unreadable.items() if name not in ("pinloop-doctor", "grafana")}
    if away and (target.services or target.passwords):
        yield broken(
            "secrets",
            f"Cannot be read: {', '.join(away.values())}.",
            f"Look at their owner and rights; one that is gone is made anew: {target.again}.",
        )
    elif target.passwords:
        yield fine("secrets", f"{len(target.passwords)} secrets are there and can be read.")


def check_disk(target: Target) -> Iterator[Finding]:
    """Say how much room there is."""
    for folder in target.folders:
        usage = shutil.disk_usage(folder)
        saw = f"{_size(usage.free)} of {_size(usage.total)} are free where '{folder}' is."
        if usage.free < _FULL_BYTES:
            yield broken("disk", saw, "Free some: without room nothing is stored and no claim is made.")
        elif usage.free < _TIGHT_BYTES:
            yield warning("disk", saw, "Free some before it is full; a reading takes about 100 bytes.")
        else:
            yield fine("disk", saw)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def check_programs(target: Target) -> Iterator[Finding]:
    """Say what local mode runs on."""
    if target.mode != "local":
        return
    mosquitto = find_mosquitto()
    if mosquitto:
        # -h ends with code 1 and prints its version first.
        said = subprocess.run([mosquitto, "-h"], capture_output=True, text=True, timeout=5, check=False).stdout
        broker = (said.splitlines() or ["mosquitto"])[0].strip()
    else:
        broker = "no mosquitto (the embedded broker is used)"
    yield fine("programs", f"Python {platform.python_version()} on {platform.system()} {os.uname().machine}, {broker}.")
    try:
        engine = find().name
    except EngineError as error:
        yield broken("micropython", f"{error}.", "Set MICROPYTHON to a program that is there, or unset it.")
        return
    if engine == "micropython":
        yield fine("micropython", "Virtual devices run on MicroPython.")
    else:
        yield warning(
            "micropython",
            "There is no MicroPython: CPython runs the virtual devices' firmware.",
            "`make micropython` fetches it, without root; a board of yours is not concerned.",
        )

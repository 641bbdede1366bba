"""The broker's database: a mosquitto that cannot write its persistence folder says nothing and keeps nothing."""

import time
from collections.abc import Iterator
from pathlib import Path

from pinloop.doctor.findings import Finding, broken, fine, warning
from pinloop.doctor.target import Target

__all__ = ["check_broker_disk"]

# It saves every 10 s (autosave_interval), changed or not.
_OLDEST_S = 30.0


def check_broker_disk(target: Target) -> Iterator[Finding]:
    """Say when the broker saved last."""
    folder = target.broker_folder
    if folder is None:
        yield warning(
            "broker database",
            "The broker's folder cannot be seen from here, so nobody knows whether it saves what it holds.",
            "Mount it: add `-v pinloop_mosquitto-data:/mosquitto/data:ro` after `run`.",
        )
        return
    if _written_s(folder / "users.json") > _written_s(folder / "mosquitto.conf"):
        yield warning(
            "broker database",
            "The embedded broker runs, which keeps nothing over a restart and nothing for a listener that is away.",
            f"Install mosquitto (apt install mosquitto), then {target.again}.",
        )
        return
    database = folder / "mosquitto.db"
    try:
        age_s = time.time() - database.stat().st_mtime
    except OSError as error:
        yield broken("broker database", f"'{database}' is not there ({error.strerror}): {_LOST}", _ADVICE)
        return
    saw = f"The broker saved its database {max(0.0, age_s):.0f} s ago ({database.stat().st_size:,} bytes)."
    if age_s <= _OLDEST_S:
        yield fine("broker database", saw)
    else:
        yield broken("broker database", f"{saw} It should every 10 s: {_LOST}", _ADVICE)


_LOST = "its next restart forgets retained messages and what it keeps for the listener."
_ADVICE = (
    "Give the broker's user the right to write that folder, free space on its disk, and `persistence true` with "
    "`autosave_interval 10` in mosquitto.conf; then restart it."
)


def _written_s(path: Path) -> float:
    """Return when a file was written (each start of local mode writes its broker's), 0 when it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0

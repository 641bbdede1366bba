"""What a process has used: CPU time, memory and what it read, from /proc (Linux)."""

import os
from pathlib import Path

__all__ = ["cpu_s", "open_files", "peak_rss_mb", "read_bytes", "rss_mb"]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU, user and system, that a process and its ended children have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def read_bytes(pid: int) -> int:
    """Return how many bytes a process has read by now, from sockets as from files."""
    return int(Path(f"/proc/{pid}/io").read_text().split(maxsplit=2)[1])


def rss_mb(pid: int) -> float:
    """Return how much memory a process holds now."""
    return _status_mb(pid, "VmRSS:")


def peak_rss_mb(pid: int) -> float:
    """Return the most memory that a process has held."""
    return _status_mb(pid, "VmHWM:")


def open_files(pid: int) -> int:
    """Return how many file descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _status_mb(pid: int, key: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

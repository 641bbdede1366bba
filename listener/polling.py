"""Devices that are asked over HTTP: what to ask, and what becomes of an answer.

Pure but for the hand-over: `poller` has the threads and the clock.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from contract.limits import MAX_PAYLOAD_BYTES
from inputs import Inputs
from inputs.espnet.decode import Espnet
from inputs.isems.decode import Isems
from service.errors import SettingsError

__all__ = ["Target", "chunks", "targets"]

_MOST_LOG_BYTES = 4 << 20
_MOST_LINES = 400  # in one message
_PORTS = range(1, 65536)


@dataclass
class Target:
    """A device that is asked.

    Attributes:
        name: for logs and metrics.
        url: what is asked.
        topic: under which the answer is handed over.
        every_s: seconds between two answers.
        most_bytes: of an answer.
        is_log: the answer is a log that grows: only its new lines are handed over.
        says_offline: a device that stops answering is handed over as an empty message.
        seen: hashes of the lines that are safe.
        unended: the end of the last answer, when it was no whole line.
    """

    name: str
    url: str
    topic: str
    every_s: float
    most_bytes: int = MAX_PAYLOAD_BYTES
    is_log: bool = False
    says_offline: bool = False
    seen: set[int] = field(default_factory=set)
    unended: bytes = b""


def targets(inputs: Inputs) -> list[Target]:
    """Return the devices that the inputs' file says to ask.

    Raises:
        SettingsError: an address is no HOST or HOST:PORT.
    """
    found = []
    for isems in inputs.get(Isems):
        for address in isems.nodes:
            _check(address, "isems: nodes")
            url = f"http://{address}/ISEMS/ffopenmppt.log"
            found.append(
                Target(address, url, isems.own[0], isems.poll_every_s, most_bytes=_MOST_LOG_BYTES, is_log=True)
            )
    for espnet in inputs.get(Espnet):
        for name, address in espnet.devices.items():
            _check(address, f"espnet: devices: {name}")
            topic = espnet.own[0].replace("+", name)
            found.append(Target(name, f"http://{address}/", topic, espnet.poll_every_s, says_offline=True))
    return found


def chunks(target: Target, body: bytes) -> Iterator[tuple[bytes, Callable[[], None]]]:
    """Yield (message, what to call when it is safe) for an answer.

    Lines of a log that were safe before are left out; what is called remembers those of this answer only, so that the
    memory is as long as the log.
    """
    if not target.is_log:
        yield body, lambda: None
        return
    whole, ended, last = body.rpartition(b"\n")
    if last and last != target.unended:
        # Perhaps it is just being written: half a number is a number, too. If it is all, it is the same the next time.
        target.unended, body = last, whole + ended
    lines = body.decode(errors="replace").splitlines()
    target.seen &= {hash(line) for line in lines}
    fresh = [line for line in lines if line.strip() and hash(line) not in target.seen]
    part: list[str] = []
    size_bytes = 0
    for line in fresh:
        line_bytes = len(line.encode()) + 1
        if part and (size_bytes + line_bytes > MAX_PAYLOAD_BYTES or len(part) >= _MOST_LINES):
            yield _message(target, part)
            part, size_bytes = [], 0
        part.append(line)
        size_bytes += line_bytes
    if part:
        yield _message(target, part)


def _message(target: Target, lines: list[str]) -> tuple[bytes, Callable[[], None]]:
    hashes = {hash(line) for line in lines}
    return "\n".join(lines).encode(), lambda: target.seen.update(hashes)


def _check(address: str, key: str) -> None:
    host, _, port = address.partition(":")
    if not host or not set(host) <= _HOST or (port and not (port.isdecimal() and int(port) in _PORTS)):
        raise SettingsError(f"{key}: {address!r} is not HOST or HOST:PORT")


_HOST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")

"""Free ports for servers of a test."""

import os
import random
import socket

# Below the range from which the kernel takes the near ends of connections: one of those could take the port meanwhile.
_FIRST, _LAST = 18_000, 31_999
_WORKERS = 16

_handed_out: set[int] = set()


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that was free a moment ago, another one with each call.

    Every worker of pytest-xdist has ports of its own, so that two tests do not choose the same at the same moment.
    """
    share = (_LAST - _FIRST + 1) // _WORKERS
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    while True:
        port = _FIRST + worker * share + random.randrange(share)
        if port not in _handed_out and _is_free(port):
            _handed_out.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

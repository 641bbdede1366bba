"""`python -m service.probe URL`: exit 0 when the URL answers 200; the health check of our containers.

Uses a bare socket: it is started every few seconds in every container, and an HTTP library takes longer to
import than the question takes to ask.
"""

import socket
import sys
from urllib.parse import urlsplit

__all__ = ["probe"]

_TIMEOUT_S = 3.0
_MOST_BYTES = 8192


def probe(url: str) -> str | None:
    """Return None when `url` (http) answers 200 within 3 seconds, else what it answered or why it did not."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {host}\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as sock:
            sock.sendall(request.encode())
            while len(answer) < _MOST_BYTES and (chunk := sock.recv(4096)):
                answer += chunk
    except OSError as error:
        return f"{url}: {error}"
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    return None if status == [b"200"] else f"{url}: {body.decode(errors='replace').strip() or 'not HTTP'}"


if __name__ == "__main__":
    problem = probe(sys.argv[1])
    if problem:
        print(problem)  # noqa: T201  (docker inspect shows it)
        raise SystemExit(1)

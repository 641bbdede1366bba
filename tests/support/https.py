"""An authority, certificates for a service's HTTPS port, and clients that trust it."""

import http.client
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pinloop.certificates import certificate_of, make_authority, make_server

NAMES = ("localhost", "127.0.0.1")


class Authority:
    """Signs certificates; `context` is of a client that trusts nobody else."""

    def __init__(self, folder: Path) -> None:
        self._text = make_authority(datetime.now(UTC))
        self.ca_path = folder / "ca.pem"
        self.ca_path.write_text(certificate_of(self._text))
        self._context = self.context()

    def put(self, path: Path, *, days: int = 30, names: Sequence[str] = NAMES) -> Path:
        """Write a new key and certificate into one file, as setup and certbot do: by renaming; return the path."""
        new = path.with_suffix(".new")
        new.write_text(make_server(self._text, names, datetime.now(UTC), days))
        return new.replace(path)

    def context(self) -> ssl.SSLContext:
        """Return what a client needs."""
        return ssl.create_default_context(cafile=str(self.ca_path))

    def client(self, port: int, source: str = "127.0.0.1", timeout_s: float = 10) -> http.client.HTTPSConnection:
        """Return a client that has not connected yet."""
        return http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=timeout_s, context=self._context, source_address=(source, 0)
        )


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Return the status and the body of the answer; the connection stays open."""
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read()

"""A real mosquitto with a TLS listener beside the plain one, and certificates that are right, wrong or too old."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pinloop.certificates import BASE_NAMES, certificate_of, make_authority, make_server
from tests.support.broker import Broker, running_broker
from tests.support.ports import free_port


@dataclass(frozen=True)
class Secured:
    """A broker with TLS.

    Attributes:
        broker: the broker; its own port is the plain one.
        tls_port: the other.
        ca_path: the authority's certificate.
        other_ca_path: that of an authority that has nothing to do with it.
    """

    broker: Broker
    tls_port: int
    ca_path: Path
    other_ca_path: Path


@contextlib.contextmanager
def secured_broker(folder: Path, names: Sequence[str] = BASE_NAMES, days: int = 30) -> Iterator[Secured]:
    """Run a broker whose certificate has these names and ends in `days` days (below 0: it has ended)."""
    folder.mkdir(parents=True)
    now = datetime.now(UTC)
    authority = make_authority(now)
    (folder / "server.pem").write_text(make_server(authority, names, now, days))
    ca_path, other_ca_path = folder / "ca.pem", folder / "other-ca.pem"
    ca_path.write_text(certificate_of(authority))
    other_ca_path.write_text(certificate_of(make_authority(now)))
    port = free_port()
    lines = (
        f"allow_anonymous true\nlistener {port} 127.0.0.1\ncertfile {folder}/server.pem\nkeyfile {folder}/server.pem"
    )
    with running_broker(folder, lines) as broker:
        yield Secured(broker, port, ca_path, other_ca_path)

"""What HTTPS costs a service: `python -m bench.https`. CPU of the server per request, with and without TLS.

The server is `service.http` in a process of its own with an application that reads 500 bytes and answers 2; the client
is Python's own, one connection at a time, no resumed sessions. The ways take turns.
"""

import http.client
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.support import machine, percentile
from tests.support.https import Authority, ask
from tests.support.processes import Child, owned
from tests.support.wait import until

BODY = b"x" * 500
ROUNDS, KEPT, NEW = 5, 1000, 200
SERVER = """
import sys, threading
from pathlib import Path
from service.health import Health
from service.http import HttpServer
from service.settings import HttpSettings

def app(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b"{}"]

settings = HttpSettings(http_port=0, http_tls_port=0, http_tls_host="127.0.0.1", http_tls_cert_path=Path(sys.argv[1]))
server = HttpServer(settings, Health("bench"), app)
server.start()
print("listens", server.port, server.tls_port)
threading.Event().wait()
"""


def cpu_s(child: Child) -> float:
    """Return the CPU time of a process in seconds (Linux)."""
    fields = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(child: Child, work: Callable[[], None], count: int) -> tuple[float, float]:
    """Return (CPU of the server, time that passes) of one of `count` requests, in microseconds."""
    cpu, began_s = cpu_s(child), time.perf_counter()
    work()
    return (cpu_s(child) - cpu) / count * 1e6, (time.perf_counter() - began_s) / count * 1e6


def main() -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority(folder)
        words = ["python", "-c", SERVER, authority.put(folder / "server.pem")]
        with owned(words, folder / "out") as child:
            line = until(lambda: next(one for one in child.text().splitlines() if one.startswith("listens")), 10)
            plain, tls = (int(word) for word in line.split()[1:])
            ways: dict[str, Callable[[], http.client.HTTPConnection]] = {
                "HTTP": lambda: http.client.HTTPConnection("127.0.0.1", plain),
                "HTTPS": lambda: authority.client(tls),
            }
            found: dict[tuple[str, str], list[tuple[float, float]]] = {}
            for _ in range(ROUNDS):
                for way, connect in ways.items():
                    connection = connect()

                    def kept(connection: http.client.HTTPConnection = connection) -> None:
                        for _ in range(KEPT):
                            ask(connection, "POST", "/", BODY)

                    def new(connect: Callable[[], http.client.HTTPConnection] = connect) -> None:
                        for _ in range(NEW):
                            connection = connect()
                            ask(connection, "POST", "/", BODY)
                            connection.close()

                    ask(connection, "POST", "/", BODY)
                    found.setdefault((way, "kept open"), []).append(measured(child, kept, KEPT))
                    connection.close()
                    found.setdefault((way, "new"), []).append(measured(child, new, NEW))
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}; medians of {ROUNDS} rounds")
    print(f"{'way':6} {'connection':10} {'server CPU us/request':>22} {'us/request':>11}")
    for (way, connection_kind), values in found.items():
        cpu, wall = (percentile([one[index] for one in values], 0.5) for index in (0, 1))
        print(f"{way:6} {connection_kind:10} {cpu:22.0f} {wall:11.0f}")


if __name__ == "__main__":
    sys.exit(main())

"""Stands in for InfluxDB's write endpoint, in the three ways in which its generations refuse lines.

A line whose sensor is `bad` cannot be parsed, one whose sensor is `conflict` is in conflict with the field's type;
all others are good. What each generation answers, and what it keeps then:

  1.8    400 {"error": "unable to parse ..."} or {"error": "partial write: ... dropped=1"}; the good lines are stored
  2.x    400 {"code", "message"} for what cannot be parsed, nothing is stored; 422 "partial write ... dropped=1" for a
         conflict, the good lines are stored
  3 Core 400 {"error": "partial write of line protocol occurred", "data": [...]}; the good lines are stored

Sources: docs.influxdata.com/influxdb/v1/tools/api, .../v2/write-data/troubleshoot, .../core/write-data/troubleshoot;
influxd 1.6.7 was measured.
"""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KINDS = ("1.8", "2.x", "3 Core")


class StandIn:
    """What the server has stored, and how it is to behave.

    Attributes:
        lines: the lines that are stored; a line that comes again replaces itself.
        next: (status, headers) to answer before anything else; nothing is stored then.
        down: answer 503 to everything.
        hangs: while set, answers nothing.
        most_lines: a larger body is refused with 413; 0: none is.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.url = ""
        self.lines: dict[str, None] = {}
        self.writes: list[list[str]] = []
        self.next: deque[tuple[int, dict[str, str]]] = deque()
        self.down = False
        self.go_on = threading.Event()
        self.go_on.set()
        self.most_lines = 0

    def sensors(self) -> list[str]:
        """Return the first field of each stored line, sorted."""
        return sorted(line.split(" ")[1].split("=")[0] for line in self.lines)

    def write(self, body: str) -> tuple[int, dict[str, str], bytes]:
        """Take lines; return status, headers and body of the answer."""
        self.go_on.wait()
        lines = body.split("\n")
        self.writes.append(lines)
        if self.next:
            status, headers = self.next.popleft()
            return status, headers, b'{"code":"x","message":"as the test wants it"}'
        if self.down:
            return 503, {}, b'{"code":"unavailable","message":"down"}'
        if self.most_lines and len(lines) > self.most_lines:
            return 413, {}, b'{"code":"request too large","message":"too large"}'
        unread = [line for line in lines if " bad=" in line]
        conflicts = [line for line in lines if " conflict=" in line]
        good = [line for line in lines if line not in unread and line not in conflicts]
        if not (self.kind == "2.x" and unread):
            self.lines.update(dict.fromkeys(good))
        if not unread and not conflicts:
            return 204, {}, b""
        status, said = getattr(self, "_" + self.kind[0])(lines, unread, conflicts)
        return status, {"Content-Type": "application/json"}, json.dumps(said).encode()

    def _1(self, _lines: list[str], unread: list[str], conflicts: list[str]) -> tuple[int, Any]:
        if unread:
            return 400, {"error": f"unable to parse '{unread[0]}': invalid number"}
        return 400, {"error": f"partial write: field type conflict: input field dropped={len(conflicts)}"}

    def _2(self, _lines: list[str], unread: list[str], conflicts: list[str]) -> tuple[int, Any]:
        if unread:
            return 400, {"code": "invalid", "message": f"unable to parse '{unread[0]}': invalid number"}
        said = f"failure writing points to database: partial write: field type conflict dropped={len(conflicts)}"
        return 422, {"code": "unprocessable entity", "message": said}

    def _3(self, lines: list[str], unread: list[str], conflicts: list[str]) -> tuple[int, Any]:
        bad = [
            {"original_line": line, "line_number": lines.index(line) + 1, "error_message": "invalid column type"}
            for line in unread + conflicts
        ]
        return 400, {"error": "partial write of line protocol occurred", "data": bad}


@contextlib.contextmanager
def standing_in(kind: str) -> Iterator[StandIn]:
    """Run a stand-in of one of KINDS for the length of a `with` block."""
    stand_in = StandIn(kind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.path.startswith("/api/v2/write?"):
                status, headers, answer = stand_in.write(body)
            else:  # InfluxQL: nothing is known
                status, headers, answer = (503, {}, b"") if stand_in.down else (200, {}, b'{"results":[{}]}')
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield stand_in
    finally:
        stand_in.go_on.set()
        server.shutdown()
        server.server_close()

"""A Grafana-shaped sender: fires, resolves, posts what Grafana posts, and lists what is active when it is asked."""

import base64
import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/api/alertmanager/grafana/api/v2/alerts"
USER, PASSWORD = "reader", "reader-password"


class Alerting:
    """What fires, as Grafana posts and lists it.

    Args:
        root_url: under which people reach it: `externalURL` of what it posts, not where it listens.

    Attributes:
        alerts: fingerprint -> the alert as it is in the list.
    """

    def __init__(self, root_url: str = "http://localhost:3000/", org: int = 1) -> None:
        self.root_url = root_url
        self.org = org
        self.alerts: dict[str, dict[str, Any]] = {}

    def fire(self, fingerprint: str, actuate: str, starts_at_s: float, state: str = "active", **labels: str) -> None:
        """Let an alert fire, or change it."""
        named = {"alertname": fingerprint, "actuate": actuate, **labels}
        self.alerts[fingerprint] = {
            "annotations": {"__orgId__": str(self.org), "summary": "x"},
            "endsAt": "2030-01-01T00:00:00.000Z",
            "fingerprint": fingerprint,
            "receivers": [{"name": "pinloop-webhook"}],
            "startsAt": _rfc3339(starts_at_s),
            "status": {"inhibitedBy": [], "silencedBy": [], "state": state},
            "updatedAt": "2026-11-21T03:10:20.000Z",
            "generatorURL": f"{self.root_url}alerting/grafana/{fingerprint}/view?orgId={self.org}",
            "labels": {**{name: value for name, value in named.items() if value}, "__alert_rule_uid__": fingerprint},
        }

    def resolve(self, fingerprint: str) -> dict[str, Any]:
        """Let an alert end and return it."""
        return self.alerts.pop(fingerprint)

    def listed(self) -> bytes:
        """Return the list of active alerts."""
        return json.dumps(list(self.alerts.values())).encode()

    def post(self, alert: dict[str, Any], status: str = "firing", reason: str = "") -> bytes:
        """Return the body of the notification of `alert`; `reason` is why nobody knows how it ended."""
        one = {
            "status": status,
            "labels": {name: value for name, value in alert["labels"].items() if not name.startswith("__")},
            "annotations": {"grafana_state_reason": reason} if reason else {"summary": "x"},
            # Grafana posts more digits than it lists.
            "startsAt": alert["startsAt"].replace("Z", "456789Z"),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": alert["generatorURL"],
            "fingerprint": alert["fingerprint"],
            "values": None,
        }
        body = {"version": "1", "orgId": self.org, "externalURL": self.root_url, "state": "alerting", "alerts": [one]}
        return json.dumps(body).encode()


class Grafana(Alerting):
    """Serves the list of active alerts on a port of its own.

    Attributes:
        answer: what is answered instead of the list: (status, body), None for the list.
        asked: how often the list was asked for.
        cut_bytes: so many bytes are missing at the end of an answer, and the connection ends.
    """

    def __init__(self, root_url: str = "http://localhost:3000/", org: int = 1) -> None:
        super().__init__(root_url, org)
        self.answer: tuple[int, bytes] | None = None
        self.asked = 0
        self.cut_bytes = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        """Go away."""
        self._server.shutdown()
        self._server.server_close()


def _rfc3339(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _handler(grafana: Grafana) -> type[BaseHTTPRequestHandler]:
    right = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            grafana.asked += 1
            if self.path != PATH:
                status, body = 404, b'{"message":"Not found"}'
            elif self.headers["Authorization"] != right:
                status, body = 401, b'{"message":"Unauthorized"}'
            else:
                status, body = grafana.answer or (200, grafana.listed())
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body) + grafana.cut_bytes))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = self.close_connection or bool(grafana.cut_bytes)

        def log_message(self, *_: object) -> None:
            pass

    return Handler

"""HTTPS of whole services: an alert and a gateway's readings come in, a certificate is renewed, doctor tells of it."""

import json
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3

from inputs.gateway.accounts import hashed
from pinloop.doctor.services import check_services
from pinloop.doctor.target import Target
from service.settings import MqttSettings
from store import StoreSettings
from store.sqlite import SqliteStore
from tests.support.broker import Broker, Client
from tests.support.https import Authority
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.wait import until

pytestmark = pytest.mark.long

PASSWORD = "alert-secret"


def served(name: str, broker: Broker, cert: Path) -> dict[str, str]:
    """Return the variables of a service with both ports."""
    ports = {f"PINLOOP_{name}_HTTP_PORT": str(free_port()), f"PINLOOP_{name}_HTTP_TLS_PORT": str(free_port())}
    return {**broker.environment(), **ports, "PINLOOP_HTTP_TLS_CERT_PATH": str(cert)}


def test_an_alert_comes_in_over_https_and_a_wrong_authority_keeps_it_out(
    spawn: Callable[..., Child], broker: Broker, client: Client, tmp_path: Path
):
    """As Grafana posts it, on a connection that stays; what the throttle counts is the client's own address."""
    (tmp_path / "stranger").mkdir()
    authority, stranger = Authority(tmp_path), Authority(tmp_path / "stranger")
    environment = served("WEBHOOK", broker, authority.put(tmp_path / "webhook.pem"))
    claims = {"PINLOOP_CLAIMS_PATH": str(tmp_path / "claims.db"), "PINLOOP_ALERT_PASSWORD": "alert-secret"}
    webhook = spawn(
        ["python", "-m", "webhook"], env={**environment, **claims, "PINLOOP_OPERATOR_PASSWORD": "op-secret"}
    )
    url = f"https://localhost:{environment['PINLOOP_WEBHOOK_HTTP_TLS_PORT']}"
    commands = client.collect("pinloop/lights/pin/red/set")
    alert = {"status": "firing", "startsAt": "2026-01-01T00:00:00Z", "labels": {"actuate": "lights/red=1"}}
    body = json.dumps({"version": "4", "alerts": [alert]})

    def post(ca_path: Path, password: str = PASSWORD) -> int:
        with urllib3.PoolManager(ca_certs=str(ca_path), retries=False) as pool:
            word = b64encode(f"alerts:{password}".encode()).decode()
            return pool.request("POST", f"{url}/alert", body=body, headers={"Authorization": f"Basic {word}"}).status

    until(lambda: "broker connected" in webhook.text(), 15, "the webhook runs")
    with pytest.raises(urllib3.exceptions.SSLError, match="certificate verify failed"):
        post(stranger.ca_path)
    assert post(authority.ca_path, "wrong") == 401
    assert post(authority.ca_path) == 200
    assert commands.until(lambda message: message.payload)
    assert "serves HTTPS" in webhook.text()
    assert webhook.end() == 0


def test_a_gateway_posts_over_https_through_a_renewal_and_doctor_tells_of_the_end(
    spawn: Callable[..., Child], broker: Broker, tmp_path: Path
):
    """Stored before it is answered; the next connection meets the new certificate; a last week is told."""
    authority = Authority(tmp_path)
    cert = authority.put(tmp_path / "listener.pem", days=5)
    environment = served("LISTENER", broker, cert)
    inputs, store_path = tmp_path / "inputs.toml", tmp_path / "store.db"
    inputs.write_text(f'[gateways.roof]\ntoken_sha256 = "{hashed("a-token")}"\ndevices = {{"aa:bb" = "bed-1"}}\n')
    store = SqliteStore(store_path)
    files = {
        "PINLOOP_INPUTS_PATH": str(inputs),
        "PINLOOP_STORE_URL": f"sqlite:{store_path}",
        "PINLOOP_DEAD_LETTER_PATH": str(tmp_path / "dead.jsonl"),
        "PINLOOP_SPOOL_PATH": str(tmp_path / "spool"),
    }
    listener = spawn(["python", "-m", "listener"], env={**environment, **files})
    until(lambda: "broker connected" in listener.text(), 15, "the listener runs")
    port = int(environment["PINLOOP_LISTENER_HTTP_TLS_PORT"])
    plain = f"http://127.0.0.1:{environment['PINLOOP_LISTENER_HTTP_PORT']}"
    with urllib3.PoolManager(ca_certs=str(authority.ca_path), retries=False) as pool:
        headers = {"Authorization": "Bearer a-token"}
        for humidity in (40, 41):
            items = {"name": "gw", "data": [{"name": "aa:bb", "humidity": humidity}]}
            answer = pool.request("POST", f"https://127.0.0.1:{port}/telemetry", json=items, headers=headers)
            assert (answer.status, answer.json()["stored"]) == (200, 1)
            assert store.latest("bed-1")["humidity"][0] == humidity

        def findings() -> list[str]:
            target = Target("stack", MqttSettings(), {"listener": plain}, {}, {}, StoreSettings())
            return [f"{one.level} {one.saw} {one.do}" for one in check_services(target)]

        def seen() -> float:
            context = authority.context()
            return ssl.cert_time_to_seconds(str(peer(context, port)["notAfter"]))

        assert any("warning" in one and "certificate" in one and "ends on" in one for one in findings())
        before = seen()
        authority.put(cert, days=60)
        until(lambda: seen() > before, 10, "the new certificate")
        assert not any("certificate" in one for one in findings())
        assert pool.request("GET", f"https://127.0.0.1:{port}/healthz").status == 200
    store.close()
    assert listener.end() == 0


def peer(context: ssl.SSLContext, port: int) -> dict[str, object]:
    """Return what the certificate at a port says."""
    with (
        socket.create_connection(("127.0.0.1", port), 5) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        return dict(secure.getpeercert() or {})

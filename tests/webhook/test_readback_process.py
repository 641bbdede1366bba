"""Reading back in the real webhook: a Grafana-shaped sender, and Debian's Alertmanager."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.broker import Client, Seen
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.requirements import need
from tests.support.wait import until
from tests.webhook.grafana import PASSWORD, USER, Grafana


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    running = Grafana()
    yield running
    running.close()


def commands(client: Client, name: str = "red") -> Seen:
    return client.collect(f"pinloop/lights/pin/{name}/set")


def test_what_fires_in_grafana_holds_the_pin_with_every_notification_lost(
    make_webhook: Callable[..., Any], client: Client, grafana: Grafana
) -> None:
    """From before the start of the webhook to the end of the alert; an answer that is wrong changes nothing."""
    seen = commands(client)
    grafana.fire("hot", "lights/red=1", time.time() - 60)
    webhook = make_webhook(
        grafana_url=grafana.url, grafana_user=USER, grafana_password=PASSWORD, readback_s=0.2, claim_ttl_s=1.5
    )
    webhook.start()
    seen.until(lambda m: b'"by":"alert hot"' in m.payload)
    first_until_s = webhook.pin("lights", "red")["desired"]["until_s"]
    until(lambda: webhook.pin("lights", "red")["desired"]["until_s"] > first_until_s, 3, "the claim is asserted again")
    grafana.answer = (500, b"")
    reason = until(
        lambda: webhook.call("GET", "/readyz")[1]["warnings"].get("grafana read-back"), 3, "the failure is told"
    )
    assert "answers 500" in reason
    assert webhook.call("GET", "/readyz")[0] == 200
    assert webhook.metric('webhook_readback_ok{source="grafana"}') == 0
    grafana.answer = None
    until(lambda: webhook.metric('webhook_readback_ok{source="grafana"}') == 1, 3, "it is read again")
    grafana.resolve("hot")
    seen.until(lambda m: not m.payload)
    assert webhook.pin("lights", "red")["desired"] is None


class Alertmanager:
    """Debian's Prometheus Alertmanager."""

    def __init__(self, spawn: Callable[..., Child], folder: Path, receiver_url: str, password: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        program = need("prometheus-alertmanager", "apt-get install prometheus-alertmanager")
        config = folder / "alertmanager.yml"
        config.write_text(
            'route: {receiver: pinloop, group_by: ["..."], group_wait: 0s, group_interval: 1s, repeat_interval: 1m}\n'
            f'receivers: [{{name: pinloop, webhook_configs: [{{url: "{receiver_url}", http_config: {{basic_auth: '
            f'{{username: alerts, password: "{password}"}}}}}}]}}]\n'
        )
        address = self.url.removeprefix("http://")
        flags = (f"--config.file={config}", f"--storage.path={folder}/am", f"--web.listen-address={address}")
        spawn([program, *flags, "--cluster.listen-address="], name="alertmanager")
        self._http = urllib3.PoolManager(retries=False, timeout=5)
        until(lambda: self._http.request("GET", f"{self.url}/-/ready").status == 200, 20, "Alertmanager is ready")

    def tell(self, name: str, actuate: str, began: datetime, ended: bool = False) -> None:
        """Say of an alert what Prometheus says, firing or ended."""
        ends = began + timedelta(seconds=1) if ended else datetime.now(UTC) + timedelta(minutes=5)
        alert = {
            "labels": {"alertname": name, "actuate": actuate},
            "annotations": {"summary": "x"},
            "startsAt": began.isoformat(),
            "endsAt": ends.isoformat(),
            "generatorURL": "http://prometheus:9090/graph",
        }
        self._post("alerts", [alert])

    def silence(self, name: str) -> None:
        """Silence an alert for an hour."""
        now = datetime.now(UTC)
        self._post(
            "silences",
            {
                "matchers": [{"name": "alertname", "value": name, "isRegex": False}],
                "startsAt": now.isoformat(),
                "endsAt": (now + timedelta(hours=1)).isoformat(),
                "createdBy": "test",
                "comment": "x",
            },
        )

    def _post(self, what: str, body: object) -> None:
        answer = self._http.request("POST", f"{self.url}/api/v2/{what}", json=body)
        assert answer.status == 200, answer.data


def test_alertmanagers_active_alerts_hold_the_pins_with_every_notification_lost(
    make_webhook: Callable[..., Any], client: Client, spawn: Callable[..., Child], tmp_path: Path
) -> None:
    """It posts to nobody; what it lists is enough, a silence included."""
    alertmanager = Alertmanager(spawn, tmp_path, f"http://127.0.0.1:{free_port()}/nobody", "x")
    began = datetime.now(UTC) - timedelta(minutes=1)
    red, green = commands(client), commands(client, "green")
    make_webhook(alertmanager_url=alertmanager.url, readback_s=0.2).start()
    alertmanager.tell("hot", "lights/red=1", began)
    alertmanager.tell("dry", "lights/green=1", began)
    red.until(lambda m: m.payload)
    green.until(lambda m: m.payload)
    alertmanager.tell("hot", "lights/red=1", began, ended=True)
    alertmanager.silence("dry")
    red.until(lambda m: not m.payload)
    green.until(lambda m: not m.payload)


def test_alertmanagers_posts_and_its_list_are_the_same_alert(
    make_webhook: Callable[..., Any], client: Client, spawn: Callable[..., Child], tmp_path: Path
) -> None:
    """The same fingerprint and start: one command however often both say it, and a lost "resolved" is found."""
    seen = commands(client)
    port = free_port()
    alertmanager = Alertmanager(spawn, tmp_path, f"http://127.0.0.1:{port}/alert", "alert-secret")
    webhook = make_webhook(alertmanager_url=alertmanager.url, readback_s=0.2, http_port=port).start()
    began = datetime.now(UTC).replace(microsecond=123456)
    alertmanager.tell("hot", "lights/red=1", began)
    posted = 'webhook_alerts_total{dialect="alertmanager",outcome='
    until(lambda: webhook.metric(f'{posted}"renewed"') or webhook.metric(f'{posted}"claimed"'), 5, "it is posted")
    read = webhook.metric('webhook_readbacks_total{outcome="ok",source="alertmanager"}')
    until(lambda: webhook.metric('webhook_readbacks_total{outcome="ok",source="alertmanager"}') > read + 2, 5, "reads")
    assert webhook.metric(f'{posted}"stale"') == 0
    assert len([one for one in webhook.call("GET", "/alerts")[1]["alerts"] if one["status"] == "firing"]) == 1
    assert len({json.loads(message.payload)["seq"] for message in seen}) == 1
    # From here on its notifications do not arrive: the password is another one.
    webhook.process.terminate()
    webhook.process.wait(10)
    webhook._env["PINLOOP_ALERT_PASSWORD"] = "another"
    webhook.start()
    assert webhook.pin("lights", "red")["desired"]["source"] == "hot"
    alertmanager.tell("hot", "lights/red=1", began, ended=True)
    seen.until(lambda m: not m.payload)

"""The services' real figures in a real InfluxDB: what the dashboard *Pinloop itself* asks for is there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3

from grafana.builders.itself import itself
from tests.support.broker import Broker, Client
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.wait import until

RULES = "version: 1\nrules:\n- {name: too-bright, when: pot > 80, then: [lights/red = 1]}\n"
PASSWORD = "alert-secret"


def test_every_figure_of_the_dashboard_is_one_that_the_services_have(
    spawn: Callable[..., Child], broker: Broker, client: Client, influx: Any, bucket: str, tmp_path: Path
) -> None:
    """Under the service and with the labels that it asks for; by the listener's own scraping."""
    ports = {name: free_port() for name in ("webhook", "rules", "hub")}
    (tmp_path / "rules.yml").write_text(RULES)
    store = {
        "PINLOOP_STORE_URL": influx.gateway,
        "PINLOOP_STORE_BUCKET": bucket,
        "PINLOOP_STORE_TOKEN": influx.token,
    }
    own: dict[str, dict[str, str]] = {
        "webhook": {
            "PINLOOP_ALERT_PASSWORD": PASSWORD,
            "PINLOOP_OPERATOR_PASSWORD": "operator-secret",
            "PINLOOP_CLAIMS_PATH": str(tmp_path / "claims.db"),
        },
        "rules": {
            "PINLOOP_RULES_PATH": str(tmp_path / "rules.yml"),
            "PINLOOP_STATE_PATH": str(tmp_path / "state.db"),
            "PINLOOP_WEBHOOK_URL": f"http://127.0.0.1:{ports['webhook']}/alert",
            "PINLOOP_WEBHOOK_PASSWORD": PASSWORD,
        },
        "hub": {
            **store,
            "PINLOOP_CONSOLE_PASSWORD": "console-secret",
            "PINLOOP_WEBHOOK_URL": f"http://127.0.0.1:{ports['webhook']}",
            "PINLOOP_WEBHOOK_PASSWORD": "operator-secret",
        },
        "listener": {
            **store,
            "PINLOOP_SCRAPE": ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in ports.items()),
            "PINLOOP_SCRAPE_EVERY_S": "1",
            "PINLOOP_SPOOL_PATH": str(tmp_path / "spool"),
            "PINLOOP_DEAD_LETTER_PATH": str(tmp_path / "dead.jsonl"),
        },
    }
    for name, settings in own.items():
        port = {"PINLOOP_HTTP_PORT": str(ports.get(name, 0))}
        spawn(["python", "-m", name], env={**broker.environment(), **port, **settings}, name=name)
    webhook = f"http://127.0.0.1:{ports['webhook']}"
    until(lambda: asked(influx, bucket, 'SELECT last("up") FROM "services" WHERE "up" = 1 GROUP BY "service"', 4), 20)

    queries = [target["query"] for panel in itself()["panels"] for target in panel["targets"]]
    told = client.collect("pinloop/lights/pin/red/set")
    client.publish("pinloop/lights/info", '{"pins":{"red":{"gpio":4,"safe":0}}}', retain=True)
    client.publish("pinloop/lights/status", "online", retain=True)
    answered = 0

    def unanswered() -> list[str]:
        nonlocal answered
        for reading in ("81", "much", "60"):  # the alert fires and ends; in between nonsense
            client.publish("pinloop/pot/reading/pot", reading)
        urllib3.request("POST", f"{webhook}/alert", body=b"{}", retries=False)  # without a password
        for command in told[answered:]:
            client.publish("pinloop/lights/pin/red/state", followed(command.payload))
        answered = len(told)
        return [text for text in queries if not asked(influx, bucket, grafana(text))]

    # Rates need two looks with a growth between them, means something that was counted meanwhile.
    until(lambda: not unanswered(), 40, "every query of the dashboard is answered", every_s=0.3)


def followed(command: bytes) -> str:
    """Return what a device reports that does what it is told."""
    if not command:
        return '{"v":0,"why":"released"}'
    told = json.loads(command)
    return json.dumps({"v": told["v"], "seq": told["seq"], "why": "command"})


def grafana(text: str) -> str:
    """Return a query with Grafana's variables replaced."""
    return text.replace("$timeFilter", "time > now() - 5m").replace("$__interval", "2s")


def asked(influx: Any, bucket: str, text: str, least: int = 1) -> bool:
    """Tell whether InfluxDB answers with so many series."""
    (result,) = json.loads(influx.ask(text, bucket))["results"]
    assert "error" not in result, result
    return len(result.get("series", [])) >= least

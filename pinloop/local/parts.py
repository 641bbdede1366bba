"""Which processes the loop consists of, and how each is told where the others are."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence

from pinloop.local.layout import Layout, Ports
from pinloop.local.supervisor import Part

__all__ = ["device_part", "find_mosquitto", "loop_parts"]

# Readings are made first and stored last, so the makers stop first and the broker last.
_STOP_DEVICES, _STOP_RULES, _STOP_SERVICES, _STOP_BROKER = range(4)


def find_mosquitto() -> str | None:
    """Return mosquitto's path; Debian keeps it in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


def loop_parts(
    layout: Layout, ports: Ports, bind: str, webhook_bind: str, mosquitto: str | None, gateways: bool = False
) -> list[Part]:
    """Return the broker and the four services, in starting order.

    Args:
        layout, ports: where everything is.
        bind: address of the broker and the console.
        webhook_bind: address of the webhook.
        mosquitto: path of the program; None: the embedded broker.
        gateways: some may post readings: with 0.0.0.0 the listener, too, is open to the network.
    """
    broker_argv = (
        [mosquitto, "-c", str(layout.broker / "mosquitto.conf")]
        if mosquitto
        else [
            sys.executable,
            "-m",
            "pinloop.local.embedded_broker",
            bind,
            str(ports.mqtt),
            str(layout.broker),
            str(layout.inputs),
        ]
    )
    broker = Part("broker", broker_argv, address=f"{bind}:{ports.mqtt}", stop_rank=_STOP_BROKER)
    store = {"PINLOOP_STORE_URL": f"sqlite:{layout.store.resolve()}"}
    inputs = {"PINLOOP_INPUTS_PATH": str(layout.inputs.resolve())}
    posted = {"PINLOOP_LISTENER_HTTP_HOST": bind} if gateways and bind == "0.0.0.0" else {}  # noqa: S104
    webhook_url = f"http://127.0.0.1:{ports.webhook}"
    operator_file = str(layout.password("operator").resolve())
    alerts_file = str(layout.password("alerts").resolve())
    key_file = str(layout.hmac_key.resolve())
    return [
        broker,
        _service(
            "webhook",
            layout,
            ports.mqtt,
            ports.webhook,
            {
                "PINLOOP_WEBHOOK_HTTP_HOST": webhook_bind,
                "PINLOOP_WEBHOOK_CLAIMS_PATH": str(layout.claims.resolve()),
                "PINLOOP_WEBHOOK_ROUTES_PATH": str(layout.routes.resolve()),
                "PINLOOP_WEBHOOK_PINS_PATH": str(layout.pins.resolve()) if layout.pins.exists() else "",
                "PINLOOP_WEBHOOK_ALERT_PASSWORD_FILE": alerts_file,
                "PINLOOP_WEBHOOK_OPERATOR_PASSWORD_FILE": operator_file,
                "PINLOOP_WEBHOOK_HMAC_KEY_FILE": key_file,
                "PINLOOP_WEBHOOK_TOKENS_PATH": str(layout.tokens.resolve()),
            },
        ),
        _service(
            "listener",
            layout,
            ports.mqtt,
            ports.listener,
            {
                **store,
                **inputs,
                **posted,
                "PINLOOP_LISTENER_DEAD_LETTER_PATH": str(layout.dead_letters.resolve()),
                "PINLOOP_LISTENER_SPOOL_PATH": str(layout.spool.resolve()),
            },
        ),
        _service(
            "rules",
            layout,
            ports.mqtt,
            ports.rules,
            {
                **inputs,
                "PINLOOP_RULES_RULES_PATH": str(layout.rules.resolve()),
                "PINLOOP_RULES_STATE_PATH": str(layout.rules_state.resolve()),
                "PINLOOP_RULES_ENGINES": "stream,grafana",  # no Grafana here: every rule is evaluated by us
                "PINLOOP_RULES_WEBHOOK_URL": webhook_url + "/alert",
                "PINLOOP_RULES_WEBHOOK_PASSWORD_FILE": alerts_file,
                "PINLOOP_RULES_HMAC_KEY_FILE": key_file,
            },
            _STOP_RULES,
        ),
        _service(
            "hub",
            layout,
            ports.mqtt,
            ports.hub,
            {
                **store,
                "PINLOOP_HUB_HTTP_HOST": bind,
                "PINLOOP_HUB_CONSOLE_PASSWORD_FILE": str(layout.password("console").resolve()),
                "PINLOOP_HUB_WEBHOOK_URL": webhook_url,
                "PINLOOP_HUB_LISTENER_URL": f"http://127.0.0.1:{ports.listener}",
                "PINLOOP_HUB_WEBHOOK_PASSWORD_FILE": operator_file,
            },
        ),
    ]


def device_part(layout: Layout, device: str, engine: str) -> Part:
    """Return the virtual device whose folder is in `layout.devices`."""
    folder = layout.devices / device
    argv: Sequence[str] = [sys.executable, "-m", "firmware.sim", "run", str(folder), "--engine", engine]
    return Part(f"device {device}", argv, stop_rank=_STOP_DEVICES)


def _service(
    name: str, layout: Layout, mqtt_port: int, http_port: int, own: Mapping[str, str], stop_rank: int = _STOP_SERVICES
) -> Part:
    environment = {
        "PINLOOP_MQTT_HOST": "127.0.0.1",
        "PINLOOP_MQTT_PORT": str(mqtt_port),
        "PINLOOP_MQTT_USER": f"svc.{name}",
        "PINLOOP_MQTT_PASSWORD_FILE": str(layout.password(f"svc.{name}").resolve()),
        f"PINLOOP_{name.upper()}_HTTP_HOST": "127.0.0.1",
        f"PINLOOP_{name.upper()}_HTTP_PORT": str(http_port),
        "PINLOOP_LOG_FORMAT": "human",  # people read data/log
        **own,
    }
    url = f"http://127.0.0.1:{http_port}"
    shown = own.get(f"PINLOOP_{name.upper()}_HTTP_HOST", "127.0.0.1")
    return Part(name, [sys.executable, "-m", name], environment, f"{shown}:{http_port}", url + "/readyz", stop_rank)

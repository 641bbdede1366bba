"""What there is to ask: where the parts are, and the passwords that open them.

Two ways to know it: the data folder of `pinloop up`, or (the stack) variables and the secrets folder.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pinloop.broker_files import DOCTOR_DEVICE, SERVICE_USERS
from pinloop.errors import PinloopError
from pinloop.local.layout import Layout
from service.errors import SettingsError
from service.settings import MqttSettings, read, setting
from store import StoreSettings

__all__ = ["SERVICES", "StackSettings", "Target", "local_target", "stack_target"]

SERVICES = ("listener", "rules", "webhook", "hub")
_OPENERS = ("console", "alerts", "operator")


@dataclass(frozen=True, kw_only=True)
class StackSettings(MqttSettings, StoreSettings):
    """Where the stack's parts are; the defaults hold inside its network."""

    mqtt_host: str = setting("mosquitto", "Host name or address of the MQTT broker.")
    store_url: str = setting("http://influxdb:8086", "Address of InfluxDB.")
    listener_url: str = setting("http://listener:8082", "Where the listener answers.")
    rules_url: str = setting("http://rules:8083", "Where rules answers.")
    webhook_url: str = setting("http://webhook:8081", "Where the webhook answers.")
    hub_url: str = setting("http://hub:8080", "Where the console is.")
    grafana_url: str = setting("http://grafana:3000", "Where Grafana is; empty: there is none.")
    secrets_path: Path = setting(Path("/secrets"), "The secrets folder that `setup` made.")
    broker_path: Path = setting(Path("/mosquitto/data"), "The broker's persistence folder; looked at when it is there.")


@dataclass(frozen=True)
class Target:
    """A Pinloop that is to be examined.

    Attributes:
        mode: "local" or "stack".
        mqtt: where the broker is, without a user.
        services: service -> its address; empty when no instance runs.
        passwords: broker users, `console`, `alerts`, `operator`, `grafana`, and the key that signs alerts, `hmac`, as
            far as they are known.
        unreadable: what of them could not be read, and why.
        store: where the points are; its token reads.
        write_token: InfluxDB token that writes, "" for none.
        folders: what has to have free space.
        broker_folder: where the broker keeps its database, None when that cannot be seen from here.
        rules_path: the rules file, None when it cannot be seen from here.
        layout: of local mode.
        facts: running.json of local mode.
    """

    mode: str
    mqtt: MqttSettings
    services: Mapping[str, str]
    passwords: Mapping[str, str]
    unreadable: Mapping[str, str]
    store: StoreSettings
    write_token: str = ""
    grafana_url: str = ""
    folders: tuple[Path, ...] = ()
    broker_folder: Path | None = None
    rules_path: Path | None = None
    layout: Layout | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def signed_in(self, user: str) -> MqttSettings:
        """Return the broker's settings for a user whose password is known."""
        return replace(self.mqtt, mqtt_user=user, mqtt_password=self.passwords[user])

    @property
    def again(self) -> str:
        """How the whole is started again, for advice."""
        return "stop and start `pinloop up`" if self.mode == "local" else "run `docker compose up -d --wait`"

    def log_of(self, part: str) -> str:
        """Where a part's log is, for advice."""
        return f"{self.layout.logs / (part + '.log')}" if self.layout else f"`docker compose logs {part}`"


def local_target(data: Path) -> Target:
    """Return the Pinloop of the data folder; `services` is empty when none runs there."""
    layout = Layout(data, data / "rules.yml")
    facts: dict[str, Any] = {}
    try:
        facts = json.loads(layout.running.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass  # the check `instance` tells it
    mqtt = facts.get("mqtt", {})
    files = {name: layout.password(name) for name in (*SERVICE_USERS, DOCTOR_DEVICE, *_OPENERS)}
    files["hmac"] = layout.hmac_key
    passwords, unreadable = _read_all(files)
    folder = data if data.is_dir() else data.absolute().parent
    return Target(
        "local",
        MqttSettings(mqtt_host=mqtt.get("host", "127.0.0.1"), mqtt_port=mqtt.get("port", 1883)),
        facts.get("services", {}),
        passwords,
        unreadable,
        StoreSettings(store_url=f"sqlite:{layout.store}"),
        folders=(folder,),
        broker_folder=layout.broker,
        rules_path=Path(facts.get("rules_path", layout.rules)),
        layout=layout,
        facts=facts,
    )


def stack_target(environ: Mapping[str, str] = os.environ) -> Target:
    """Return the stack that the variables PINLOOP_DOCTOR_X, PINLOOP_X and GRAFANA_URL describe.

    Raises:
        PinloopError: a variable cannot be used, or there is no secrets folder.
    """
    if "GRAFANA_URL" in environ:
        environ = {"PINLOOP_DOCTOR_GRAFANA_URL": environ["GRAFANA_URL"], **environ}
    try:
        settings = read("doctor", StackSettings, [], environ)
    except SettingsError as error:
        raise PinloopError(str(error)) from None
    owner = settings.secrets_path / "owner"
    if not os.access(owner, os.R_OK | os.X_OK):
        raise PinloopError(
            f"the secrets in '{owner}' cannot be read",
            "Run it in the stack: docker compose run --rm --no-deps --entrypoint 'python -m pinloop' store-setup"
            " doctor --stack",
        )
    files = {user: owner / f"mqtt_{user.removeprefix('svc.')}" for user in SERVICE_USERS}
    files |= {DOCTOR_DEVICE: owner / "devices" / DOCTOR_DEVICE, "console": owner / "console_password"}
    files |= {"alerts": owner / "alert_password", "operator": owner / "operator_password"}
    files |= {"hmac": owner / "hmac_key", "grafana": owner / "grafana_password", "read": owner / "store_read_token"}
    passwords, unreadable = _read_all({**files, "write": owner / "store_write_token"})
    return Target(
        "stack",
        settings,
        {name: str(getattr(settings, f"{name}_url")).rstrip("/") for name in SERVICES},
        passwords,
        unreadable,
        replace(settings, store_token=passwords.get("read", "")),
        passwords.get("write", ""),
        settings.grafana_url.rstrip("/"),
        folders=(settings.secrets_path,),
        broker_folder=settings.broker_path if settings.broker_path.is_dir() else None,
    )


def _read_all(files: Mapping[str, Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Return (name -> content, name -> why it could not be read)."""
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name, path in files.items():
        try:
            found[name] = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeError) as error:
            missing[name] = f"'{path}' ({getattr(error, 'strerror', None) or 'is not text'})"
    return found, missing

"""The settings of `rules`."""

from dataclasses import dataclass
from pathlib import Path

from inputs.settings import InputsSettings
from rules.model import GRAFANA, STREAM
from service.extra_topics import ExtraTopicsSettings
from service.http_url import check_http_url
from service.settings import HttpSettings, LogSettings, MqttSettings, setting
from service.signing import TIMESTAMP_HEADER

__all__ = ["Settings", "require"]


@dataclass(frozen=True, kw_only=True)
class Settings(MqttSettings, HttpSettings, LogSettings, ExtraTopicsSettings, InputsSettings):
    """Evaluates the rules file on readings as they arrive, and posts alerts to the webhook."""

    http_port: int = setting(8083, "TCP port of health, metrics and /rules; 0 takes a free one.", least=0, most=65535)
    http_tls_port: int = setting(8443, "TCP port for HTTPS; 0 takes a free one.", least=0, most=65535)
    rules_path: Path = setting(
        Path("rules.yml"), "The rules file; taken over by itself when it changes, and on SIGHUP."
    )
    state_path: Path = setting(Path("data/rules.db"), "The state database (SQLite): alerts that fire.")
    engines: str = setting(
        STREAM,
        "Rules of which engine are evaluated here; both where there is no Grafana.",
        choices=(STREAM, f"{STREAM},{GRAFANA}"),
    )
    webhook_url: str = setting("http://127.0.0.1:8081/alert", "Where alerts are posted.")
    webhook_user: str = setting("alerts", "User name at the webhook.")
    webhook_password: str = setting("", "Password at the webhook; empty: none is sent.", secret=True)
    hmac_key: str = setting("", "The webhook's hmac_key: alerts are signed with it; empty: they are not.", secret=True)
    hmac_timestamp_header: str = setting(
        TIMESTAMP_HEADER, "The webhook's hmac_timestamp_header: where the time of a signature goes."
    )
    reassert_s: float = setting(
        60.0, "Seconds after which a firing alert is posted again; the webhook lets claims end after 300.", least=1
    )


def require(settings: Settings) -> None:
    """Check what a declaration cannot say.

    Raises:
        SettingsError: `webhook_url` is no http or https URL with a host, or has a password in it.
    """
    check_http_url("webhook_url", settings.webhook_url, "webhook_user and webhook_password")

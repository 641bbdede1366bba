"""The hub's settings."""

from dataclasses import dataclass

from service.settings import HttpSettings, LogSettings, MqttSettings, setting
from store import StoreSettings

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings(StoreSettings, MqttSettings, HttpSettings, LogSettings):
    """The hub: the web console and the REST API."""

    console_password: str = setting("", "Password of the console, and of user `owner` for the API.", secret=True)
    console_https: bool = setting(False, "The console is reached by HTTPS (through a proxy): its cookie is Secure.")
    webhook_url: str = setting("http://127.0.0.1:8081", "Where the webhook listens.")
    webhook_password: str = setting("", "The webhook's operator_password.", secret=True)
    event_streams_max: int = setting(16, "Most pages that are live at the same time; others poll.", least=1, most=200)
    stale_s: float = setting(60.0, "Seconds after which a reading is not shown as current.", least=1, most=86400)

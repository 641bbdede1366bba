"""The hub's settings."""

from collections.abc import Callable
from dataclasses import dataclass

from contract.errors import ContractError
from contract.topics import check_device
from service.durations import seconds_in
from service.errors import SettingsError
from service.settings import HttpSettings, LogSettings, MqttSettings, setting
from store import StoreSettings

__all__ = ["Settings", "stale_of"]


@dataclass(frozen=True, kw_only=True)
class Settings(StoreSettings, MqttSettings, HttpSettings, LogSettings):
    """The hub: the web console and the REST API."""

    console_password: str = setting("", "Password of the console, and of user `owner` for the API.", secret=True)
    console_https: bool = setting(False, "The console is reached by HTTPS only: its cookie is Secure.")
    webhook_url: str = setting("http://127.0.0.1:8081", "Where the webhook listens.")
    listener_url: str = setting("", "Where the listener answers: its dead letters are told; empty: it is not asked.")
    webhook_password: str = setting("", "The webhook's operator_password.", secret=True)
    event_streams_max: int = setting(16, "Most pages that are live at the same time; others poll.", least=1, most=200)
    stale_s: float = setting(
        60.0, "Seconds after which a reading of a Pinloop device is not current any more.", least=1, most=86400
    )
    stale_foreign_s: float = setting(
        1000.0,
        "The same for other firmware and gateways, of which many report every 5 minutes: three of these, and some.",
        least=1,
        most=30 * 86400,
    )
    stale_devices: str = setting("", "The same for single devices and all their sensors, as attic=6h,door=2d.")


def stale_of(settings: Settings) -> Callable[[str, bool], float]:
    """Return what says after how many seconds a reading is not current any more, of (device, whether it is ours).

    Raises:
        SettingsError: `stale_devices` is outside its grammar.
    """
    own: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in settings.stale_devices.split(","))):
        device, _, text = part.partition("=")
        try:
            own[check_device(device)] = seconds_in(text)
        except ContractError as error:
            raise SettingsError(f"--stale-devices: {part!r}: {error}") from None
        except ValueError as error:
            raise SettingsError(f"--stale-devices: {part!r}: '{text}' {error}") from None

    def stale(device: str, declared: bool) -> float:
        return own.get(device) or (settings.stale_s if declared else settings.stale_foreign_s)

    return stale

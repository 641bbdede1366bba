"""The webhook's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ContractError
from contract.limits import DEFAULT_TTL_S, MAX_TTL_S
from contract.topics import check_device, check_name
from service.errors import SettingsError
from service.settings import HttpSettings, LogSettings, MqttSettings, setting
from webhook.access.settings import AccessSettings, require_access
from webhook.arbiter import PREFERENCES
from webhook.commands import Pin
from webhook.pin_file import PinConfig
from webhook.targets import parse_targets

__all__ = ["Settings", "preferences_of", "require"]


@dataclass(frozen=True, kw_only=True)
class Settings(AccessSettings, MqttSettings, HttpSettings, LogSettings):
    """Takes alerts in, keeps claims on pins, and sends the commands that follow."""

    http_port: int = setting(8081, "TCP port to listen on; 0 takes a free one.", least=0, most=65535)
    http_tls_port: int = setting(8441, "TCP port for HTTPS; 0 takes a free one.", least=0, most=65535)
    claims_path: Path = setting(Path("data/claims.db"), "The claims database (SQLite).")
    ttl_s: int = setting(
        DEFAULT_TTL_S, "Lease of a command in seconds; renewed after a third of it.", least=1, most=MAX_TTL_S
    )
    claim_ttl_s: float = setting(
        300.0, "Seconds after which an alert's claim ends unless the alert is sent again.", least=1
    )
    reconcile_s: float = setting(
        30.0, "Seconds after which a command that a device does not report is sent again.", least=0.1
    )
    drift_s: float = setting(30.0, "Seconds after which a pin that is not what it should be counts as drift.", least=0)
    body_max_bytes: int = setting(
        1 << 22, "Longest body of a request in bytes; about 3000 of Grafana's alerts fit.", least=1024, most=1 << 23
    )
    grafana_url: str = setting(
        "",
        "Grafana whose active alerts are read back, as http://grafana:3000; empty: none. Claims then equal what fires.",
    )
    grafana_user: str = setting("", "User that may read Grafana's alerts (role Viewer); empty: grafana_token, or none.")
    grafana_password: str = setting("", "Password of that user.", secret=True)
    grafana_token: str = setting("", "Token of a service account with role Viewer, instead of a user.", secret=True)
    grafana_receiver: str = setting("", "Contact point whose alerts count; empty: those of all.")
    alertmanager_url: str = setting(
        "", "Prometheus Alertmanager that is read back likewise, as http://alertmanager:9093."
    )
    alertmanager_user: str = setting("", "User for its Basic auth; empty: none.")
    alertmanager_password: str = setting("", "Password of that user.", secret=True)
    readback_s: float = setting(30.0, "Seconds between two reads of the active alerts.", least=0.1)
    routes_path: Path = setting(
        Path("data/routes.yml"), "Routes for alerts without `actuate`, and devices of other firmware; may be missing."
    )
    preferences: str = setting(
        "", "Who wins within a slot, by pin: high (default), low or newest, as lights/red=low,pump/main=newest."
    )
    pins_path: Path = setting(
        Path(),
        "Guards, preference, dry-run of single pins (pins.yml, docs/webhook.md), followed while it runs; empty: none.",
    )
    dry_run: bool = setting(False, "Decide, store and show everything, and send no command to any pin.")
    log_days: float = setting(365.0, "Days after which a change is dropped from the log.", least=0.01)
    log_changes: int = setting(100_000, "Changes that the log keeps at most, the newest.", least=10)
    legacy_actuate: str = setting(
        "", "Targets of alerts in Grafana's legacy format without a tag `actuate`, as lights/red=1,lights/green=0."
    )


def require(settings: Settings) -> None:
    """Check what single values cannot say.

    Raises:
        SettingsError: a secret is missing or cannot be used, or `legacy_actuate` is outside its grammar.
    """
    require_access(settings)
    if settings.legacy_actuate:
        try:
            parse_targets(settings.legacy_actuate, "--legacy-actuate")
        except ContractError as error:
            raise SettingsError(str(error)) from None


def preferences_of(text: str, configured: Mapping[Pin, PinConfig] | None = None) -> dict[Pin, str]:
    """Return pin -> preference from `device/pin=preference,...` (the setting), and from the pins file.

    Raises:
        SettingsError: a part is outside that grammar, or both name a pin.
    """
    found = {pin: config.preference for pin, config in (configured or {}).items() if config.preference}
    for part in filter(None, (part.strip() for part in text.split(","))):
        device, _, rest = part.partition("/")
        pin, _, preference = rest.partition("=")
        try:
            key = check_device(device, "--preferences"), check_name(pin, "--preferences")
        except ContractError as error:
            raise SettingsError(str(error)) from None
        if preference not in PREFERENCES:
            raise SettingsError(f"--preferences: {part!r} does not end in one of {', '.join(PREFERENCES)}")
        if key in (configured or {}) and found.get(key):
            raise SettingsError(f"--preferences: {part!r}: the pins file says it too; keep one of them")
        found[key] = preference
    return found

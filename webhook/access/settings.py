"""The settings of access."""

from dataclasses import dataclass
from pathlib import Path

from service.errors import SettingsError
from service.settings import setting
from service.signing import TIMESTAMP_HEADER
from webhook.access.basic import check_stored
from webhook.access.guard import ALERT_AUTH, ANY, BASIC, HMAC

__all__ = ["AccessSettings", "require_access"]

_LEAST_KEY_CHARS = 16


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """Who may ask the webhook for what."""

    alert_auth: str = setting(
        ANY,
        "What POST /alert asks of a sender: basic, hmac (a signature), both, or any of them; one that signs must sign "
        "right.",
        choices=ALERT_AUTH,
    )
    alert_password: str = setting(
        "", "Password of the user `alerts`, who may only POST /alert, or its hash by werkzeug.security.", secret=True
    )
    hmac_key: str = setting("", "Secret with which senders sign; empty: signatures are not looked at.", secret=True)
    hmac_timestamp_header: str = setting(
        TIMESTAMP_HEADER, "Header in which a sender that signs says the time (Grafana: timestampHeader)."
    )
    operator_password: str = setting(
        "", "Password of the user `operator`, who may do everything else, or its hash.", secret=True
    )
    tokens_path: Path = setting(Path("data/tokens.json"), "The file of API tokens; `pinloop token` writes it.")


def require_access(settings: AccessSettings) -> None:
    """Check what single values cannot say.

    Raises:
        SettingsError: a secret is missing or cannot be used, or both passwords are the same.
    """
    needed = ["alert_password"] if settings.alert_auth != HMAC else []
    needed += ["hmac_key"] if settings.alert_auth not in (ANY, BASIC) else []
    needed += ["operator_password"]
    for name in needed:
        if not getattr(settings, name):
            raise SettingsError(
                f"--{name.replace('_', '-')}: is missing; generate one with `openssl rand -hex 16` and give it as "
                f"PINLOOP_{name.upper()} or in a file named by PINLOOP_{name.upper()}_FILE"
            )
    for name in ("alert_password", "operator_password"):
        check_stored(name, getattr(settings, name))
    if settings.alert_password == settings.operator_password:
        raise SettingsError("--operator-password: must differ from the alert password, which every sender knows")
    if 0 < len(settings.hmac_key) < _LEAST_KEY_CHARS:
        raise SettingsError(f"--hmac-key: (hidden) is shorter than {_LEAST_KEY_CHARS} characters")

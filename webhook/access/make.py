"""Puts the guard together from the settings."""

import time
from pathlib import Path

from service.errors import StartError
from webhook.access.basic import BasicUsers
from webhook.access.guard import ALERTS, OPERATOR, Guard
from webhook.access.replays import Replays
from webhook.access.settings import AccessSettings
from webhook.access.signature import Signatures
from webhook.access.throttle import Throttle
from webhook.access.tokens import Tokens

__all__ = ["make_guard"]


def make_guard(settings: AccessSettings, tokens: Tokens, replays_path: Path) -> Guard:
    """Return the guard.

    Args:
        tokens: of the file that the settings name.
        replays_path: where used signatures are kept, when there is a key.

    Raises:
        StartError: that file cannot be used.
    """
    throttle = Throttle()
    passwords = {ALERTS: settings.alert_password, OPERATOR: settings.operator_password}
    users = BasicUsers({user: password for user, password in passwords.items() if password}, throttle)
    signatures = None
    if settings.hmac_key:
        try:
            replays = Replays(replays_path, time.time())
        except OSError as error:
            raise StartError(f"{replays_path}: cannot be used ({error.strerror})") from None
        signatures = Signatures(settings.hmac_key, settings.hmac_timestamp_header, replays)
    return Guard(users, signatures, tokens, throttle, settings.alert_auth)

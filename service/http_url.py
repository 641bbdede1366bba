"""Addresses of other services, as settings give them.

A password in an address would be shown wherever the address is: in logs, in /readyz, in answers.
"""

import urllib3

from service.errors import SettingsError

__all__ = ["check_http_url"]


def check_http_url(name: str, url: str, instead: str) -> None:
    """Check a setting that is an HTTP address.

    Args:
        name: of the setting.
        instead: the setting where a user, and so the password, belongs.

    Raises:
        SettingsError: it is no http or https URL with a host, or has a user in it; the message does not show that.
    """
    flag = f"--{name.replace('_', '-')}"
    try:
        parts = urllib3.util.parse_url(url)
        good = parts.scheme in ("http", "https") and bool(parts.host)
    except urllib3.exceptions.LocationParseError:
        good = False
    if "@" in url:
        raise SettingsError(f"{flag}: (hidden) has an '@' in it; a user and a password belong into {instead}")
    if not good:
        raise SettingsError(f"{flag}: {url!r} is not http(s)://host[:port][/path]")

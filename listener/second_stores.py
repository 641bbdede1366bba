"""The stores beside the main one, as the setting `second_stores` names them.

copy=sqlite:data/copy.db, cloud=https://influx.example:8086/?org=me&bucket=home, dd=datadog:datadoghq.eu, out=stdout:
"""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from contract.topics import is_name
from listener.follower import MAIN, Sink
from listener.settings import Settings
from service.errors import SettingsError

__all__ = ["second_stores"]

# Datadog resolves a second and counts requests: points are gathered.
_DATADOG_PAUSE_S = 5.0


def second_stores(settings: Settings, environ: Mapping[str, str] = os.environ) -> dict[str, tuple[Sink, float]]:
    """Return name -> (sink, seconds to gather points for it); nothing is connected or made yet.

    Raises:
        SettingsError: an entry is malformed, or lacks what it needs.
    """
    tokens = _pairs("second_store_tokens", settings.second_store_tokens, secret=True)
    urls = _pairs("second_stores", settings.second_stores)
    for name in tokens:
        if name not in urls:
            raise SettingsError(f"second_store_tokens: {name!r} is none of second_stores")
    key = settings.datadog_api_key or environ.get("DATADOG_API_KEY", "")
    return {name: _sink(name, url, tokens.get(name, ""), key) for name, url in urls.items()}


def _sink(name: str, url: str, token: str, datadog_key: str) -> tuple[Sink, float]:
    kind, _, rest = url.partition(":")
    if kind == "sqlite" and rest:
        from store.sqlite import SqliteStore

        return SqliteStore(Path(rest)), 0
    if kind in ("http", "https"):
        from service.http_url import check_http_url
        from store.influx import InfluxStore

        check_http_url("second_stores", url.partition("?")[0], "second_store_tokens, as NAME=USER:PASSWORD")
        query = parse_qs(urlsplit(url).query)
        if not query.get("bucket"):
            raise SettingsError(f"second_stores: {name}: {url!r} needs ?bucket=NAME (and &org=NAME)")
        org = query.get("org", ["pinloop"])[0]
        return InfluxStore(url.partition("?")[0], org, query["bucket"][0], token), 0
    if kind == "datadog":
        from store.datadog import DatadogSink

        if not datadog_key:
            raise SettingsError(f"second_stores: {name}: Datadog needs datadog_api_key or DATADOG_API_KEY")
        return DatadogSink(rest or "datadoghq.com", datadog_key), _DATADOG_PAUSE_S
    if kind == "stdout" and not rest:
        from store.json_lines import JsonLinesSink

        return JsonLinesSink(), 0
    raise SettingsError(f"second_stores: {name}: {url!r} is none of sqlite:PATH, http(s)://..., datadog:SITE, stdout:")


def _pairs(setting: str, text: str, secret: bool = False) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = entry.partition("=")
        if not is_name(name) or name in (MAIN, *found) or not value:
            shown = f"{name!r}" if secret else f"{entry!r}"
            raise SettingsError(f"{setting}: {shown} is not NAME=..., each name once and none of them {MAIN!r}")
        found[name] = value
    return found

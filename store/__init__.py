"""The time-series store behind one interface: a SQLite file or InfluxDB."""

from pathlib import Path

from service.errors import SettingsError
from store.errors import StoreError
from store.interface import Store
from store.points import Point
from store.settings import StoreSettings

__all__ = ["Point", "Store", "StoreError", "StoreSettings", "open_store"]


def open_store(settings: StoreSettings) -> Store:
    """Return the store that `store_url` names; nothing is connected or made yet.

    Raises:
        StoreError: permanent; the address is of no known kind, or has a password in it.
    """
    url = settings.store_url
    if url.startswith("sqlite:") and len(url) > len("sqlite:"):
        from store.sqlite import SqliteStore

        return SqliteStore(Path(url.removeprefix("sqlite:")))
    if url.startswith(("http://", "https://")):
        # 0.2 s to import, which SQLite's users need not wait for.
        from service.http_url import check_http_url
        from store.influx import InfluxStore

        try:
            check_http_url("store_url", url, "store_token, as USER:PASSWORD")
        except SettingsError as error:
            raise StoreError(str(error), permanent=True) from None
        return InfluxStore(url, settings.store_org, settings.store_bucket, settings.store_token)
    raise StoreError(f"store_url: {url!r} is neither sqlite:PATH nor http(s)://HOST:PORT", permanent=True)

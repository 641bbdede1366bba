"""The time-series store behind one interface: a SQLite file or InfluxDB."""

from pathlib import Path

from store.errors import StoreError
from store.interface import Store
from store.points import Point
from store.settings import StoreSettings

__all__ = ["Point", "Store", "StoreError", "StoreSettings", "open_store"]


def open_store(settings: StoreSettings) -> Store:
    """Return the store that `store_url` names; nothing is connected or made yet.

    Raises:
        StoreError: permanent; the address is of no known kind.
    """
    url = settings.store_url
    if url.startswith("sqlite:") and len(url) > len("sqlite:"):
        from store.sqlite import SqliteStore

        return SqliteStore(Path(url.removeprefix("sqlite:")))
    if url.startswith(("http://", "https://")):
        from store.influx import InfluxStore  # 0.2 s to import, which SQLite's users need not wait for

        return InfluxStore(url, settings.store_org, settings.store_bucket, settings.store_token)
    raise StoreError(f"store_url: {url!r} is neither sqlite:PATH nor http(s)://HOST:PORT", permanent=True)

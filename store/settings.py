"""Settings of whatever uses the store; to be mixed into a service's own."""

from dataclasses import dataclass

from service.settings import setting

__all__ = ["StoreSettings"]


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where the points are kept."""

    store_url: str = setting("sqlite:data/store.db", "sqlite:PATH for a file, http(s)://HOST:PORT for InfluxDB.")
    store_org: str = setting("pinloop", "InfluxDB organisation.")
    store_bucket: str = setting("pinloop", "InfluxDB bucket.")
    store_token: str = setting("", "InfluxDB token.", secret=True)

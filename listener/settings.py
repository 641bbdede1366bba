"""The listener's settings."""

from dataclasses import dataclass
from pathlib import Path

from inputs.settings import InputsSettings
from listener.census import NAMES_MAX_BYTES
from listener.sharing import SharingSettings
from service.extra_topics import ExtraTopicsSettings
from service.settings import HttpSettings, LogSettings, MqttSettings, setting
from store import StoreSettings

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings(
    MqttSettings, HttpSettings, LogSettings, StoreSettings, ExtraTopicsSettings, InputsSettings, SharingSettings
):
    """The listener: stores what devices publish, and acknowledges it to the broker only then."""

    http_port: int = setting(8082, "TCP port of health and metrics; 0 takes a free one.", least=0, most=65535)
    http_tls_port: int = setting(8442, "TCP port for HTTPS; 0 takes a free one.", least=0, most=65535)
    mqtt_reader: str = setting(
        "auto",
        "How messages are read: block (many at once, for speed), stock (paho one by one), auto: block where it goes.",
        choices=("auto", "block", "stock"),
    )
    batch_max_points: int = setting(5000, "Most points in one write.", least=1, most=100000)
    queue_max_bytes: int = setting(
        4194304, "Bytes of messages held in memory; beyond it the broker is not read any more.", least=65536
    )
    names_max_bytes: int = setting(
        NAMES_MAX_BYTES,
        "Memory for names of devices (1700 bytes each), their sensors (250) and pins (1000); beyond it new ones are"
        " refused until the next start.",
        least=65536,
    )
    dead_letter_path: Path = setting(
        Path("data/dead-letter.jsonl"), "File for points that a store refuses for good and messages that nobody reads."
    )
    dead_letter_max_bytes: int = setting(
        67108864, "Most bytes of that file and the one before it; the oldest letters go.", least=65536
    )
    spool_path: Path = setting(Path("data/spool"), "Folder for points that a store does not take yet.")
    spool_max_bytes: int = setting(
        1073741824, "Most bytes of that folder; beyond it nothing is acknowledged to the broker.", least=65536
    )
    spool_max_age_s: float = setting(
        604800.0, "Seconds of the listener's running time after which points in the spool are dropped.", least=60
    )
    spool_points_per_s: float = setting(
        20000.0, "Most points a second from the spool to the main store: live ones go beside them.", least=1
    )
    second_stores: str = setting(
        "",
        'Stores beside the main one: "NAME=URL,..." with sqlite:PATH, http(s)://HOST:PORT/?org=O&bucket=B, datadog:SITE'
        " or stdout:.",
    )
    second_store_tokens: str = setting("", 'InfluxDB tokens of those: "NAME=TOKEN,...".', secret=True)
    datadog_api_key: str = setting("", "Datadog's API key; empty: that of DATADOG_API_KEY.", secret=True)
    scrape: str = setting(
        "",
        'Services whose metrics are stored, for dashboards: "webhook=http://webhook:8081,..."; with it the own ones.',
    )
    scrape_every_s: float = setting(15.0, "Seconds between two looks at those metrics.", least=1, most=3600)

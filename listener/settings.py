"""The listener's settings."""

from dataclasses import dataclass
from pathlib import Path

from inputs.settings import InputsSettings
from service.extra_topics import ExtraTopicsSettings
from service.settings import HttpSettings, LogSettings, MqttSettings, setting
from store import StoreSettings

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings(MqttSettings, HttpSettings, LogSettings, StoreSettings, ExtraTopicsSettings, InputsSettings):
    """The listener: stores what devices publish, and acknowledges it to the broker only then."""

    http_port: int = setting(8082, "TCP port of health and metrics; 0 takes a free one.", least=0, most=65535)
    mqtt_reader: str = setting(
        "auto",
        "How messages are read: block (many at once, for speed), stock (paho one by one), auto: block where it goes.",
        choices=("auto", "block", "stock"),
    )
    batch_max_points: int = setting(5000, "Most points in one write.", least=1, most=100000)
    queue_max_bytes: int = setting(
        67108864, "Bytes of messages held in memory; beyond it the broker is not read any more.", least=65536
    )
    dedup_window: int = setting(
        4096, "Sample numbers per device and start that are remembered to recognise a redelivery.", least=1, most=100000
    )
    dead_letter_path: Path = setting(
        Path("data/dead-letter.jsonl"), "File for points that the store refuses for good, with the reason."
    )
    scrape: str = setting(
        "",
        'Services whose metrics are stored, for dashboards: "webhook=http://webhook:8081,..."; with it the own ones.',
    )
    scrape_every_s: float = setting(15.0, "Seconds between two looks at those metrics.", least=1, most=3600)

"""From the broker into the picture: the hub's own MQTT session, which only listens.

Runs on paho's network thread. A retained reading is none: it says nothing about
now. What the contract refuses is counted by reason and left out.
"""

from collections.abc import Callable

from prometheus_client import Counter

from contract.commands import decode_command, decode_state
from contract.errors import ContractError
from contract.presence import decode_info, decode_status
from contract.readings import Sample, decode_reading, decode_readings
from contract.topics import INFO, PIN_SET, PIN_STATE, READING, READINGS, RELAYED, STATUS, Topics
from hub.live import Picture
from service.mqtt import Message, Session
from service.settings import MqttSettings

__all__ = ["Intake"]

KINDS = (STATUS, INFO, READING, READINGS, RELAYED, PIN_SET, PIN_STATE)

MESSAGES = Counter("hub_messages_total", "Messages taken into the picture.")
REFUSED = Counter("hub_messages_refused_total", "Messages outside the contract.", ["reason"])


class Intake:
    """Feeds the picture from the broker.

    Args:
        settings: where the broker is.
        picture: what is fed.
        clock: seconds since 1970, for readings whose device has no clock.
        on_pin: called after a pin was commanded or has reported.
    """

    def __init__(
        self, settings: MqttSettings, picture: Picture, clock: Callable[[], float], on_pin: Callable[[], None]
    ) -> None:
        self._topics = Topics(settings.mqtt_prefix)
        self._picture = picture
        self._clock = clock
        self._on_pin = on_pin
        self.session = Session(
            settings,
            "hub",
            subscriptions=[(self._topics.every(kind), 1) for kind in KINDS],
            on_message=self._message,
            on_connected=lambda: picture.link("broker", None),
            on_disconnected=lambda: picture.link("broker", "no connection"),
        )
        picture.link("broker", "no connection yet")

    def _message(self, message: Message) -> None:
        try:
            self.take(message.topic, bytes(message.payload), bool(message.retain))
            MESSAGES.inc()
        except ContractError as error:
            REFUSED.labels(error.reason).inc()

    def take(self, name: str, payload: bytes, retained: bool) -> None:
        """Take one message.

        Raises:
            ContractError: the topic or the payload is outside the contract.
        """
        topic = self._topics.parse(name)
        picture, device, now_s = self._picture, topic.device, self._clock()
        if topic.kind == STATUS and not payload:
            picture.forget_device(device)
        elif topic.kind == STATUS:
            picture.status(device, decode_status(payload), retained)
        elif topic.kind == INFO and payload:
            picture.info(device, decode_info(payload))
        elif topic.kind == PIN_SET:
            picture.command(device, topic.name, decode_command(payload))
            self._on_pin()
        elif topic.kind == PIN_STATE and payload:
            picture.state(device, topic.name, decode_state(payload), retained)
            self._on_pin()
        elif topic.kind == PIN_STATE:
            picture.forget_report(device, topic.name)
        elif topic.kind in (READING, READINGS, RELAYED) and not retained:
            samples = [decode_reading(topic.name, payload)] if topic.kind == READING else decode_readings(payload)
            for sample in samples:
                self._sample(device, sample, now_s)

    def _sample(self, device: str, sample: Sample, now_s: float) -> None:
        # A device's clock that runs ahead must not make a value look fresh for ever.
        t_s = now_s - sample.age_s if sample.t_s is None else min(sample.t_s, now_s)
        for sensor, value in sample.values.items():
            self._picture.reading(device, sensor, value, t_s)

"""The fixtures of both ends: devices that run the firmware, and the webhook as a process."""

from tests.firmware.conftest import make
from tests.webhook.conftest import make_webhook, webhook

__all__ = ["make", "make_webhook", "webhook"]

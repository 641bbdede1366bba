"""What a request of the hub works with: one object, reached from every route."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from flask import current_app

from hub.access import Access
from hub.events import Streams
from hub.live import Picture
from hub.mirror import Mirror
from hub.webhook_client import WebhookClient
from store import Store

__all__ = ["Hub", "hub"]


@dataclass(frozen=True)
class Hub:
    """The parts of a running hub.

    Attributes:
        clock: seconds since 1970.
    """

    picture: Picture
    streams: Streams
    webhook: WebhookClient
    mirror: Mirror
    store: Store
    access: Access
    clock: Callable[[], float]


def hub() -> Hub:
    """Return the hub of the current request."""
    return cast(Hub, current_app.extensions["hub"])

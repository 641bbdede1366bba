"""Runs the hub: `python -m hub`."""

import sys
import time

from flask import Flask

from hub.access import Access
from hub.app import create_app
from hub.events import Streams
from hub.feed import Feed
from hub.intake import Intake
from hub.letters import Letters
from hub.live import Picture
from hub.mirror import Mirror
from hub.recall import Recall
from hub.settings import Settings, stale_of
from hub.state import Hub
from hub.webhook_client import WebhookClient
from service import logs
from service.errors import SettingsError, StartError
from service.health import Health
from service.http import HttpServer
from service.http_url import check_http_url
from service.settings import load
from service.stop import stop_on_signals
from service.usage import version
from store import StoreError, open_store

# Threads for everything that is not an event stream.
_THREADS = 8


def main() -> int:
    """Run until a signal; return the exit code."""
    settings = load("hub", Settings, sys.argv[1:])
    if not settings.console_password:
        print("hub: console_password: is not set; the console never runs without one", file=sys.stderr)  # noqa: T201
        return 2
    try:
        check_http_url("webhook_url", settings.webhook_url, "webhook_password")
        stale = stale_of(settings)
    except SettingsError as error:
        print(f"hub: {error}", file=sys.stderr)  # noqa: T201
        return 2
    logs.setup("hub", settings)
    log = logs.get()
    stop = stop_on_signals()

    feed = Feed(time.time)
    picture = Picture(feed, time.time, stale)
    webhook = WebhookClient(settings.webhook_url, settings.webhook_password)
    mirror = Mirror(webhook, picture)
    intake = Intake(settings, picture, time.time, mirror.nudge)
    try:
        store = open_store(settings)
    except StoreError as error:
        print(f"hub: {error}", file=sys.stderr)  # noqa: T201
        return 2
    recall = Recall(store, picture)
    letters = Letters(settings.listener_url, picture)
    app = Flask("hub")
    access = Access(app, settings.console_password, time.monotonic, https=settings.console_https)
    streams = Streams(feed, settings.event_streams_max, time.time)
    create_app(app, Hub(picture, streams, webhook, mirror, store, access, time.time))

    health = Health("hub")
    health.add("broker", intake.session.problem)
    health.add("webhook", lambda: mirror.problem)
    health.add("store", lambda: recall.problem)
    server = HttpServer(settings, health, app, threads=_THREADS + settings.event_streams_max)
    try:
        server.start()
    except StartError as error:
        print(f"hub: {error}", file=sys.stderr)  # noqa: T201
        return 1
    log.info(
        "hub started",
        version=version(),
        console=f"http://{settings.http_host}:{server.port}/",
        broker=intake.session.address,
        webhook=settings.webhook_url,
    )
    intake.session.start()
    mirror.start()
    recall.start()
    letters.start()
    stop.wait()
    log.info("hub stops")
    feed.close()
    server.stop()
    mirror.stop()
    recall.stop()
    letters.stop()
    intake.session.stop()
    store.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

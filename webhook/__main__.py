"""Starts the webhook: `python -m webhook`."""

import gc
import sys
import time
from collections.abc import Sequence

from contract.errors import ContractError
from contract.topics import PIN_SET, Topics
from service import logs
from service.document import DocumentError
from service.errors import SettingsError, StartError
from service.health import Health
from service.http import HttpServer
from service.mqtt import Session
from service.settings import load
from service.stop import stop_on_signals
from service.usage import version
from webhook import metrics
from webhook.access.make import make_guard
from webhook.access.tokens import Tokens
from webhook.alerts import Alerts
from webhook.api.alerts import alert_operations
from webhook.api.app import make_app
from webhook.api.changes import change_operations
from webhook.api.openapi import openapi_operations
from webhook.api.pins import pin_operations
from webhook.claims import Claims
from webhook.clock import follow_back
from webhook.commands import Commands, Pin
from webhook.database import Database
from webhook.facts import Facts
from webhook.follower import Follower
from webhook.foreign.bridge import Bridges
from webhook.holds import Holds
from webhook.observed import Observed
from webhook.pin_book import PinBook
from webhook.publisher import Publisher
from webhook.quarantine import Quarantine
from webhook.readback import Readback, sources_of
from webhook.reconcile import Reconciler
from webhook.routes_book import RouteBook
from webhook.settings import Settings, require
from webhook.sole import Sole

# The server reads a body before the application can say in JSON that it is too long; beyond this it does not.
_READ_MOST_BYTES = 1 << 24


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    settings = load("webhook", Settings, argv)
    try:
        require(settings)
        return _serve(settings)
    except (SettingsError, ContractError, DocumentError) as error:
        print(f"webhook: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except StartError as error:
        print(f"webhook: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _serve(settings: Settings) -> int:
    # A page of a survey computes for about a millisecond. Whoever waits for the interpreter meanwhile gets it after
    # this time (Python's own: 5 ms), and an alert waits for it at each step of a statement. At a tenth of it threads
    # hand it to one another so often that a request costs 11 % more.
    sys.setswitchinterval(0.001)
    topics = Topics(settings.mqtt_prefix)
    sources = sources_of(settings)
    logs.setup("webhook", settings)
    log = logs.get()
    stop = stop_on_signals()
    health = Health("webhook")

    book = RouteBook(settings.routes_path, topics, on_change=lambda file: bridges.follow(file.devices))
    pin_book = PinBook(settings.pins_path, settings.preferences, on_change=lambda pins: follow_pins(pins))
    quarantine = Quarantine("pinloop")
    database = Database(settings.claims_path)
    observed = Observed(topics, on_info=lambda device: reconciler.info_came(device))

    def disconnected() -> None:
        quarantine.disconnected()
        sole.disconnected()

    session = Session(
        settings,
        "webhook",
        # Our own commands come back to be compared: one that is lost on that way is sent again, so they need no PUBACK.
        subscriptions=[(topics.every(kind), 0 if kind == PIN_SET else 1) for kind in Observed.KINDS],
        on_message=observed.message,
        on_connected=lambda: reconciler.connection_stands(),
        on_disconnected=disconnected,
        fast=True,
    )
    sole = Sole(session.client_id, lambda: reconciler.adopted, stop.set)

    def dry_run(pin: Pin) -> bool:
        return settings.dry_run or pin_book.rehearses(pin)

    commands = Commands(database, settings.ttl_s, observed.reported_seq, dry_run)
    holds = Holds(
        database,
        commands,
        observed,
        pin_book.limits(),
        settings.ttl_s,
        dry_run,
        lambda: reconciler.adopted,
        book.guards_of,
    )
    claims = Claims(
        database,
        commands,
        observed.safe,
        pin_book.preferences,
        settings.claim_ttl_s,
        book.targets_of,
        holds=holds,
        log_s=settings.log_days * 86400,
        log_changes=settings.log_changes,
    )
    if step_s := follow_back(database, claims, time.time()):
        log.warning("clock was set back while no webhook ran", step_s=round(step_s, 1))
    sender = Publisher(session, topics, database, quarantine)

    def follow_pins(pins: Sequence[Pin]) -> None:
        sender.carry_out(lambda: claims.configure(pin_book.limits(), pin_book.preferences, pins, time.time()))

    bridges = Bridges(settings, topics, database, commands)
    reconciler = Reconciler(
        database,
        claims,
        commands,
        sender,
        observed,
        lambda: session.connected,
        settings.reconcile_s,
        settings.drift_s,
        holds,
        dry_run,
    )
    readbacks = [
        Readback(
            source,
            Follower(database, claims, settings.claim_ttl_s, source),
            sender,
            settings.readback_s,
            settings.claim_ttl_s,
        )
        for source in sources
    ]
    facts = Facts(database, claims, commands, observed, settings.drift_s, holds, dry_run)
    facts.quarantined = lambda pin: sender.quarantined(pin) or bridges.held(pin)
    alerts = Alerts(database, claims, sender, settings.legacy_actuate)
    tokens = Tokens(settings.tokens_path)
    guard = make_guard(settings, tokens, settings.claims_path.with_suffix(".replays"))
    operations = [
        *alert_operations(alerts, facts),
        *pin_operations(claims, facts, observed, sender, reconciler),
        *change_operations(facts),
    ]
    operations += openapi_operations(tuple(operations))
    app = make_app(guard.admit, settings.body_max_bytes, operations)
    server = HttpServer(settings, health, app, max_body_bytes=_READ_MOST_BYTES)
    health.add("broker", session.problem)
    health.add("tokens", tokens.problem)
    health.add("reconciler", reconciler.problem)
    health.add("routes", book.problem)
    health.add("pins", pin_book.problem)
    health.add("other firmware", bridges.problem)
    health.add_warning("other firmware that is declared no more", bridges.warning)
    health.add_warning("senders of alerts", guard.senders_problem)

    def rehearsed() -> str | None:
        some = "every pin" if settings.dry_run else ", ".join(pin_book.rehearsed())
        return f"no command is sent to {some}" if some else None

    health.add_warning("dry_run", rehearsed)
    if said := rehearsed():
        log.warning("dry-run: commands are decided and not sent", what=said)
    metrics.DRY_RUN.set(settings.dry_run)
    for source, readback in zip(sources, readbacks, strict=True):
        health.add_warning(f"{source.dialect} read-back", readback.problem)

    server.start()
    session.start()
    reconciler.start()
    bridges.follow(book.file.devices)
    book.start()
    pin_book.start()
    for readback in readbacks:
        readback.start()
    gc.freeze()  # nothing of the start is garbage: looking through it again and again would hold up alerts
    log.info(
        "webhook started",
        version=version(),
        http=f"http://{settings.http_host}:{server.port}",
        broker=session.address,
        prefix=settings.mqtt_prefix,
        claims=str(settings.claims_path),
        pins_file=str(settings.pins_path) if settings.pins_path.name else None,
        epoch=database.epoch,
    )
    stop.wait()
    server.stop()
    book.stop()
    pin_book.stop()
    bridges.stop()
    for readback in readbacks:
        readback.stop()
    reconciler.stop()
    session.stop()
    database.close()
    log.info("webhook stopped")
    if sole.problem:
        raise StartError(sole.problem)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m listener`: wires the parts together and waits for a signal."""

import gc
import sys
import threading
from collections.abc import Sequence

from contract.topics import Topics
from inputs import load as load_inputs
from listener.dead import DeadLetters
from listener.decode import Decoder
from listener.delivery import Delivery
from listener.foreign import foreign
from listener.gateway_api import GatewayApi
from listener.handover import Handover
from listener.intake import Intake
from listener.poller import Poller
from listener.polling import targets
from listener.queue import Queue
from listener.relay import Relay
from listener.scrape import Scraper
from listener.second_stores import second_stores
from listener.settings import Settings
from listener.sharing import share
from listener.spool import Spool, SpoolError
from listener.writer import Writer
from service import logs
from service.errors import ServiceError
from service.health import Health
from service.http import HttpServer
from service.settings import load
from service.stop import stop_on_signals
from service.usage import version
from store import StoreError, open_store

__all__ = ["main"]

_LAST_WRITE_S = 15  # an HTTP write may take 10 s to fail


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code: 0 clean, 1 it could not start or failed, 2 bad settings."""
    settings = load("listener", Settings, argv)
    # Points on standard output (a second store) are for a program: logs would be in their way.
    logs.setup("listener", settings, sys.stderr if "stdout:" in settings.second_stores else None)
    try:
        inputs = load_inputs(settings.inputs_path)
        decoder = Decoder(settings.mqtt_prefix, settings.topics_extra, foreign(inputs))
        store = open_store(settings)
        scraper = Scraper(settings.scrape, settings.scrape_every_s, store)
        queue = Queue(settings.queue_max_bytes)
        part = share(settings)
        polled = targets(inputs) if part.others else []  # one of several asks the devices
        filters = part.filters(decoder.reading_filters(), decoder.other_filters())
        intake = Intake(settings, filters, queue, settings.mqtt_reader, part.name)
        spool = Spool(settings.spool_path, settings.spool_max_bytes, settings.spool_max_age_s)
        second = second_stores(settings)
    except (ServiceError, StoreError, SpoolError) as error:
        return _refuse(error, 2)
    stop = stop_on_signals()
    dead = DeadLetters(settings.dead_letter_path, settings.dead_letter_max_bytes)
    delivery = Delivery(
        store,
        spool,
        dead,
        second,
        batch_max_points=settings.batch_max_points,
        replay_points_per_s=settings.spool_points_per_s,
    )
    writer = Writer(
        queue,
        decoder,
        delivery,
        dead,
        Handover.telling(intake.ack),
        batch_max_points=settings.batch_max_points,
        slot=part.slot,
        names_max_bytes=settings.names_max_bytes,
        relay=Relay(Topics(settings.mqtt_prefix), intake.publish_all).take if polled or inputs.gateways else None,
    )
    health = Health("listener")
    health.add("broker", intake.problem)
    health.add("store", delivery.problem)
    health.add("spool", delivery.held)
    health.add("queue", queue.problem)
    health.add_warning("dead letters", dead.problem)
    handover = Handover(queue)
    poller = Poller(polled, handover)
    server = HttpServer(settings, health, GatewayApi(inputs.gateways, handover))
    try:
        server.start()
    except ServiceError as error:
        return _refuse(error, 1)
    log = logs.get()
    log.info(
        "started",
        version=version(),
        broker=f"{settings.mqtt_host}:{settings.mqtt_port}",
        store=settings.store_url.rpartition("@")[2],
        http=f"http://{settings.http_host}:{server.port}",
    )
    failed = threading.Event()
    worker = threading.Thread(target=_work, args=(writer, stop, failed), name="writer", daemon=True)
    worker.start()
    intake.start()
    scraper.start()
    poller.start()
    # Nothing of the start is garbage, and a message leaves none: looking less often saves a twentieth of the CPU.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    stop.wait()
    poller.stop()
    scraper.stop()
    queue.close()
    delivery.stop()
    worker.join(_LAST_WRITE_S)
    intake.stop()  # sends the acknowledgements that are on their way, then DISCONNECT
    server.stop()
    delivery.close()
    store.close()
    log.info("stopped")
    return 1 if failed.is_set() else 0


def _work(writer: Writer, stop: threading.Event, failed: threading.Event) -> None:
    try:
        writer.run()
    except Exception:  # noqa: BLE001
        # Whoever supervises us starts us again; the broker keeps what is not acknowledged.
        logs.get().exception("writer failed")
        failed.set()
        stop.set()


def _refuse(error: Exception, code: int) -> int:
    print(f"listener: {error}", file=sys.stderr)  # noqa: T201
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""`python -m rules`: wires the parts together and waits for a signal."""

import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

from contract.errors import TopicError
from contract.topics import Topics
from inputs import load as load_inputs
from rules.intake import Intake
from rules.poster import Poster
from rules.rulebook import Rulebook
from rules.runner import Runner
from rules.settings import Settings, require
from rules.state import State
from rules.view import application
from service import logs
from service.errors import ServiceError
from service.extra_topics import parse_extra
from service.health import Health
from service.http import HttpServer
from service.mqtt import Message, Session
from service.settings import load
from service.signing import Signer
from service.stop import stop_on_signals
from service.usage import version

__all__ = ["main"]

# How late the clock's own transitions (`for`, silence, daily) may be; readings do not wait for it.
_TICK_S = 0.1
_TICKS_PER_LOOK_AT_THE_FILE = 10


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code (0 clean, 1 could not start, 2 bad settings or rules)."""
    settings = load("rules", Settings, argv)
    logs.setup("rules", settings)
    log = logs.get()
    stop = stop_on_signals()
    reload_wanted = threading.Event()

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        reload_wanted.set()

    signal.signal(signal.SIGHUP, hang_up)
    try:
        require(settings)
        inputs = load_inputs(settings.inputs_path)
        intake = Intake(Topics(settings.mqtt_prefix), parse_extra(settings.topics_extra), inputs=inputs)
        rulebook = Rulebook(settings.rules_path, settings.engines.split(","))
    except (ServiceError, TopicError) as error:
        print(f"rules: {error}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        state = State(settings.state_path, time.time())
        poster = Poster(
            settings.webhook_url,
            settings.webhook_user,
            settings.webhook_password,
            lambda alerts: runner.delivered(alerts),
            lambda alerts: runner.stale(alerts),
            Signer(settings.hmac_key, settings.hmac_timestamp_header) if settings.hmac_key else None,
        )
        runner = Runner(rulebook.rules, state, poster.put, settings.reassert_s)

        def take(message: Message) -> None:
            for reading in intake.readings(message):
                runner.feed(reading)

        session = Session(settings, "rules", subscriptions=intake.filters(), on_message=take)
        health = Health("rules")
        health.add("broker", session.problem)
        health.add("rules", rulebook.problem)
        health.add("webhook", lambda: poster.problem)
        health.add("state", lambda: runner.state_problem)
        server = HttpServer(settings, health, application(rulebook, runner, time.time))
        server.start()
    except ServiceError as error:
        print(f"rules: {error}", file=sys.stderr)  # noqa: T201
        return 1
    log.info(
        "rules start",
        version=version(),
        rules=str(settings.rules_path),
        state=str(settings.state_path),
        broker=session.address,
        webhook=settings.webhook_url,
        http=f"{settings.http_host}:{server.port}",
    )
    poster.start()
    runner.start()
    session.start()
    ticks = 0
    while not stop.wait(_TICK_S):
        runner.tick()
        runner.report()
        ticks += 1
        if reload_wanted.is_set() or (ticks % _TICKS_PER_LOOK_AT_THE_FILE == 0 and rulebook.changed()):
            reload_wanted.clear()
            if rulebook.reload():
                runner.replace(rulebook.rules)
    session.stop()
    runner.report()
    poster.stop()
    server.stop()
    state.close()
    log.info("rules stop")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

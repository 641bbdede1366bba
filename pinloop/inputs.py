"""`pinloop inputs`: which firmware of others is understood, what a message would become, what a broker has besides."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pinloop.durations import Duration
from pinloop.errors import PinloopError
from pinloop.show import as_json, table

if TYPE_CHECKING:
    from inputs import Inputs

__all__ = ["inputs"]

_file = click.option("--file", "path", type=click.Path(path_type=Path, dir_okay=False), envvar="INPUTS_FILE",
                     help="The inputs' file; without it $INPUTS_FILE, --data-dir's, or the sample.")  # fmt: skip
_data_dir = click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
                         envvar="PINLOOP_DATA_DIR", help="The folder of a local Pinloop.")  # fmt: skip
_prefix = click.option("--prefix", default="pinloop", show_default=True, envvar="PINLOOP_MQTT_PREFIX",
                       help="First level(s) of our own topics.")  # fmt: skip
_json = click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")


@click.group()
def inputs() -> None:
    """Readings of other firmware: Tasmota, Shelly, and others.

    \b
    Example:
      pinloop inputs try tele/plug/SENSOR '{"ENERGY":{"Power":12}}'
      pinloop inputs learn --host 192.168.1.2 --for 2m
    """


@inputs.command()
@click.argument("path", metavar="[FILE]", type=click.Path(path_type=Path, dir_okay=False), required=False,
                envvar="INPUTS_FILE")  # fmt: skip
@_data_dir
@_json
def check(path: Path | None, data_dir: Path, json_wanted: bool) -> None:
    """Say which inputs a file declares, or what is wrong in it.

    The first mistake; exit 1 when there is one.

    FILE: without it $INPUTS_FILE, inputs.toml of --data-dir, or the sample.

    \b
    Example:
      pinloop inputs check
      pinloop inputs check listener/inputs.toml
    """
    found = _load(_found(path, data_dir))
    from listener.polling import targets

    asked = [target.url for target in _checked(lambda: targets(found))]
    rows = [(one.name, " ".join(one.filters) or "-") for one in found.inputs]
    gateways = [(one.id, f"{len(one.devices)} devices") for one in found.gateways]
    if json_wanted:
        listed = [{"input": one.name, "filters": list(one.filters)} for one in found.inputs]
        as_json({"ok": True, "inputs": listed, "asked": asked, "gateways": [one.id for one in found.gateways]})
        return
    table(("input", "subscribes to"), rows)
    if asked:
        table(("asked over HTTP",), [(url,) for url in asked])
    if gateways:
        table(("gateway", "brings"), gateways)


@inputs.command("try")
@click.argument("topic")
@click.argument("payload")
@_file
@_data_dir
@_prefix
@_json
@click.pass_context
def try_(
    ctx: click.Context, topic: str, payload: str, path: Path | None, data_dir: Path, prefix: str, json_wanted: bool
) -> None:
    """Print what would be stored of a message, or why nothing.

    Exit 1 when nothing.

    PAYLOAD: as text; - reads it from standard input, @FILE from a file.

    \b
    Example:
      pinloop inputs try tele/plug/SENSOR '{"Time":"2026-01-01T00:00:00","AM2301":{"Temperature":21.5}}'
    """
    from inputs import Ignored
    from listener.assemble import Assembler
    from listener.decode import Decoder, Refused
    from listener.errors import Rejected
    from listener.foreign import foreign
    from store.lines import line

    found = _load(_found(path, data_dir))
    decoder = _checked(lambda: Decoder(prefix, "", foreign(found)))
    body = _payload(payload)
    one = None if topic.startswith(prefix + "/") else found.find(topic)
    lines: list[str] = []
    problems: list[str] = []
    left_out: list[str] = []
    try:
        assembler = Assembler(1)
        for fact in decoder.decode(topic, body):
            if isinstance(fact, Refused):
                problems.append(f"{fact.reason}: {fact.message}")
            else:
                lines += [line(point) for point in assembler.points(fact, False, time.time_ns())]
        if one is not None:
            left_out = [f"{fact.what} ({fact.reason})" for fact in one.decode(topic, body) if isinstance(fact, Ignored)]
    except Rejected as error:
        problems.append(f"{error.reason}: {error}")
    name = one.name if one else "pinloop" if topic.startswith(prefix + "/") else None
    if json_wanted:
        as_json({"input": name, "lines": lines, "left_out": left_out, "problems": problems})
    else:
        click.echo(f"input: {name or 'none reads this topic: `pinloop inputs check` lists their filters'}")
        for text in lines:
            click.echo(f"stored: {text}")
        for text in left_out:
            click.echo(f"left out: {text}")
        for text in problems:
            click.echo(f"refused: {text}")
        if not lines and not problems:
            click.echo("stored: nothing; this message is about no reading")
    if not lines:
        ctx.exit(1)


@inputs.command()
@click.option("--for", "for_s", type=Duration(most_s=86400), default="1m", show_default=True,
              help="How long to watch: 90s, 10m, 2h; Ctrl-C ends it earlier and keeps what was learnt.")  # fmt: skip
@click.option("--host", default="", help="The broker; without it that of the local Pinloop.")
@click.option("--port", type=click.IntRange(1, 65535), default=1883, show_default=True, help="Its TCP port.")
@click.option("--user", default="", help="User name at the broker.")
@click.option("--password-file", type=click.Path(path_type=Path, dir_okay=False), help="File with its password.")
@click.option("--filter", "wanted", default="#", show_default=True, help="Which topics to watch.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the tables there, not to the screen."
)
@_file
@_data_dir
@_prefix
def learn(
    for_s: int, host: str, port: int, user: str, password_file: Path | None, wanted: str, out: Path | None,
    path: Path | None, data_dir: Path, prefix: str,
) -> None:  # fmt: skip
    """Watch a broker, and propose what inputs.toml lacks.

    For each topic that nobody reads yet a table.

    Pinloop's own broker shows only what its rights let through: watch the one where your devices are.

    \b
    Example:
      pinloop inputs learn --host 192.168.1.2 --for 2m > more.toml
    """
    from pinloop.learned import Learner

    learner = Learner(_load(_found(path, data_dir)), prefix)
    settings = _broker(host, port, user, password_file, data_dir, prefix)
    _watch(settings, wanted, for_s, learner)
    text = learner.toml()
    if not text:
        click.echo("Nothing to add: " + ("no message came." if not learner.seen else "every topic is read."), err=True)
    elif out:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise PinloopError(f"--out: '{out}' cannot be written ({error.strerror})") from None
        own = path or data_dir / "inputs.toml"
        click.echo(f"{out} written. To take it over: cat {out} >> {own}; pinloop inputs check", err=True)
        click.echo("Then start `pinloop up` again (the stack: make apply).", err=True)
    else:
        click.echo(text, nl=False)


def _watch(settings: Any, wanted: str, for_s: int, learner: Any) -> None:
    from service import logs
    from service.mqtt import Session
    from service.settings import LogSettings

    # What was learnt is all there is on stdout: it may be on its way into a file.
    logs.setup("learn", LogSettings(log_level="error", log_format="human"), sys.stderr)

    def take(message: Any) -> None:
        try:
            learner.take(message.topic, bytes(message.payload))
        except UnicodeDecodeError:
            return

    session = Session(settings, "learn", subscriptions=[(wanted, 0)], on_message=take)
    session.start()
    end_s = time.monotonic() + for_s
    shown = ""
    try:
        if not session.wait_connected(10):
            raise PinloopError(f"the broker: {session.problem()}", "Name it with --host, --port, --user.")
        while (left_s := end_s - time.monotonic()) > 0:
            before, shown = shown, f"{learner.seen} messages, {learner.unknown} unknown topics"
            if sys.stderr.isatty():
                click.echo(f"\r{shown}, {left_s:.0f} s left (Ctrl-C ends it)   ", err=True, nl=False)
            elif shown != before:
                click.echo(shown, err=True)
            time.sleep(min(0.5, left_s))
    except KeyboardInterrupt:
        pass
    finally:
        session.stop()
        if shown and sys.stderr.isatty():
            click.echo("", err=True)


def _broker(host: str, port: int, user: str, password_file: Path | None, data_dir: Path, prefix: str) -> Any:
    import json

    from service.settings import MqttSettings

    try:
        if not host:
            facts = json.loads((data_dir / "running.json").read_text(encoding="utf-8"))["mqtt"]
            host, port = facts["host"], facts["port"]
            user, password_file = "svc.listener", data_dir / "secrets" / "svc.listener.password"
        password = password_file.read_text(encoding="utf-8").strip() if password_file else ""
    except (OSError, ValueError, KeyError) as error:
        hint = "Name the broker with --host (and --port, --user, --password-file), or start Pinloop."
        raise PinloopError(f"the broker is not known: {error}", hint) from None
    return MqttSettings(mqtt_host=host, mqtt_port=port, mqtt_user=user, mqtt_password=password, mqtt_prefix=prefix)


def _payload(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as error:
            raise PinloopError(f"PAYLOAD: '{text[1:]}' cannot be read ({error.strerror})") from None
    return text.encode(errors="surrogateescape")


def _found(path: Path | None, data_dir: Path) -> Path:
    if path is not None:
        return path
    own = data_dir / "inputs.toml"
    return own if own.exists() else Path(__file__).parent.parent / "listener" / "inputs.toml"


def _load(path: Path) -> "Inputs":
    from inputs import load

    found: Inputs = _checked(lambda: load(path))
    return found


def _checked(make: Any) -> Any:
    from service.errors import SettingsError

    try:
        return make()
    except SettingsError as error:
        raise PinloopError(str(error)) from None

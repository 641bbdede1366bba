"""Several listeners and a store, on this machine and without Docker: `python -m deploy.scale.run --listeners 2`.

Debian's victoria-metrics stands in for the cluster: it takes the same writes
and answers the same questions. Runs until Ctrl-C; keeps everything in --folder.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
_READY_S = 20.0


@contextlib.contextmanager
def running(name: str, command: Sequence[str | Path], folder: Path, more: Mapping[str, str]) -> Iterator[None]:
    """Run a program for the length of a `with` block; what it prints goes to a file."""
    with (folder / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **more})
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()


def found(program: str) -> str:
    """Return a program's path, or end with what to install."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if not path:
        raise click.ClickException(f"{program} is not on PATH: apt-get install {program}")
    return path


def wait_ready(url: str) -> None:
    """Return when a URL answers 2xx."""
    deadline_s = time.monotonic() + _READY_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310  (our own)
        except OSError:
            if time.monotonic() > deadline_s:
                raise click.ClickException(f"{url} does not answer; see the logs in the folder") from None
            time.sleep(0.1)
        else:
            return


@click.command()
@click.option("--listeners", default=2, show_default=True, help="How many share the readings.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("data/scale"), show_default=True)
@click.option("--mqtt-port", default=1883, show_default=True)
@click.option("--store-port", default=8428, show_default=True)
@click.option("--http-port", default=8090, show_default=True, help="Health of the first; the others count up.")
def main(listeners: int, folder: Path, mqtt_port: int, store_port: int, http_port: int) -> None:
    """Run a broker, a store, one listener for states and several for readings."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    store_url = f"http://127.0.0.1:{store_port}"
    conf = folder / "mosquitto.conf"
    user = "user root\n" if os.geteuid() == 0 else ""
    conf.write_text(
        f"{user}listener {mqtt_port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence true\n"
        f"persistence_location {folder}/\nmax_queued_messages 500000\nmax_queued_bytes 100000000\n"
        "max_inflight_messages 5000\n"
    )
    common = {"PINLOOP_MQTT_PORT": str(mqtt_port), "PINLOOP_STORE_URL": store_url, "PINLOOP_STORE_BUCKET": "iot"}
    parts = [("states", {"PINLOOP_TAKES_READINGS": "false"})]
    parts += [(f"reader-{n}", {"PINLOOP_SHARED": "true", "PINLOOP_INSTANCE": f"reader-{n}"}) for n in range(listeners)]
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.ExitStack() as stack:
        stack.enter_context(running("mosquitto", [found("mosquitto"), "-c", conf], folder, {}))
        store = [
            found("victoria-metrics"),
            f"-httpListenAddr=127.0.0.1:{store_port}",
            f"-storageDataPath={folder}/store",
        ]
        # A reading that is written again, at the same time with the same value, is one.
        stack.enter_context(running("store", [*store, "-dedup.minScrapeInterval=1ms"], folder, {}))
        wait_ready(f"{store_url}/health")
        for offset, (name, more) in enumerate(parts):
            own = {
                "PINLOOP_LISTENER_HTTP_PORT": str(http_port + offset),
                "PINLOOP_SPOOL_PATH": str(folder / name / "spool"),
                "PINLOOP_DEAD_LETTER_PATH": str(folder / name / "dead-letter.jsonl"),
            }
            stack.enter_context(running(name, [sys.executable, "-m", "listener"], folder, {**common, **own, **more}))
        for offset in range(len(parts)):
            wait_ready(f"http://127.0.0.1:{http_port + offset}/readyz")
        click.echo(f"ready: mqtt://127.0.0.1:{mqtt_port}, {listeners} listeners share the readings, store {store_url}")
        click.echo(f"read:  curl '{store_url}/api/v1/query?query=readings_temperature'")
        stop.wait()


if __name__ == "__main__":
    main()

"""`python -m firmware.sim create DIR ...` and `python -m firmware.sim run DIR`."""

import argparse
import sys
from pathlib import Path

from contract.errors import ContractError
from contract.limits import DEFAULT_PREFIX
from firmware.sim.board import Board
from firmware.sim.device import create_device
from firmware.sim.engine import ENGINES, EngineError, find


def main(argv: list[str] | None = None) -> int:
    """Return the exit code: 0, or 1 with one line on standard error."""
    options = _parser().parse_args(argv)
    try:
        if options.action == "create":
            create_device(options.folder, options.device, options.profile, _mqtt(options), options.mqtt_ca)
            return 0
        if not (options.folder / "device.json").exists():
            raise OSError(f"{options.folder} is not a device's folder: it has no device.json")
        return Board(options.folder.resolve(), find(options.engine)).run()
    except (ContractError, ValueError, OSError, EngineError) as error:
        print(f"firmware.sim: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="firmware.sim", description="Virtual devices that run the real firmware.")
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="power a device until SIGTERM or Ctrl-C")
    run.add_argument("folder", type=Path)
    run.add_argument("--engine", choices=ENGINES, default="auto")
    create = actions.add_parser("create", help="write the configuration of a device")
    create.add_argument("folder", type=Path)
    create.add_argument("--device", required=True, help="its id")
    create.add_argument("--profile", required=True, help="pot, lights, seed-pot or seed-lights")
    create.add_argument("--mqtt-host", default="127.0.0.1")
    create.add_argument("--mqtt-port", type=int, default=1883)
    create.add_argument("--mqtt-user", default="")
    create.add_argument("--mqtt-password-file", type=Path)
    create.add_argument("--mqtt-ca", type=Path, default=Path(), help="certificate (PEM) to trust; empty: no TLS")
    create.add_argument("--prefix", default=DEFAULT_PREFIX)
    return parser


def _mqtt(options: argparse.Namespace) -> dict[str, object]:
    mqtt = {
        "host": options.mqtt_host,
        "port": options.mqtt_port,
        "user": options.mqtt_user,
        "prefix": options.prefix,
    }
    if options.mqtt_password_file:
        mqtt["password"] = options.mqtt_password_file.read_text().strip()
    return mqtt


if __name__ == "__main__":
    sys.exit(main())

"""`pinloop`: the operator's command.

Exit codes: 0 done, 1 failed (the message says what to do), 2 wrong usage.
Heavy imports happen in the commands, so that `pinloop --help` answers at once.
"""

import os

import click

from pinloop.backup import backup, restore
from pinloop.config import config
from pinloop.deadletter import deadletter
from pinloop.demo import demo
from pinloop.devices import device
from pinloop.doctor import doctor
from pinloop.forget import forget_device, forget_pin
from pinloop.gateways import gateway
from pinloop.inputs import inputs
from pinloop.pins import pin
from pinloop.pins_file import pins
from pinloop.routes import routes
from pinloop.rules import rules
from pinloop.tokens import token
from pinloop.up import up
from service.usage import version
from service.variables import tell_unknown

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version(), prog_name="pinloop", message="%(prog)s %(version)s")
def main() -> None:
    """Pinloop closes the loop from a sensor's reading to an actuator's pin.

    \b
    Start here:
      pinloop up                    all on this machine, with two virtual devices
      pinloop demo                  one turn of the loop as a timeline, then stop
      pinloop pin why lights/red    why is this pin on?

    Exit codes: 0 done, 1 failed (the message says what to do), 2 wrong usage.
    """
    tell_unknown("pinloop", os.environ)


for command in (
    up,
    demo,
    device,
    pin,
    pins,
    routes,
    rules,
    token,
    deadletter,
    config,
    doctor,
    inputs,
    gateway,
    backup,
    restore,
):
    main.add_command(command)
pin.add_command(forget_pin)
device.add_command(forget_device)

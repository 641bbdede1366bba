"""`python -m pinloop` is `pinloop`."""

from pinloop.cli import main

main(prog_name="pinloop")

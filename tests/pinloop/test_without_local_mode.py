"""The stack's image has Pinloop without its extra `local`: what runs there must not need amqtt."""

import subprocess
import sys

from tests.support.processes import ROOT

IMPORT_ALL = """
import importlib, pkgutil, sys
sys.modules["amqtt"] = None  # importing it fails
import pinloop
for module in pkgutil.walk_packages(pinloop.__path__, "pinloop."):
    if not module.name.startswith(("pinloop.local.", "pinloop.__main__")):
        importlib.import_module(module.name)
        print(module.name)
"""


def test_all_but_local_mode_can_be_imported_without_the_broker_of_local_mode() -> None:
    """`pinloop doctor` in the stack once ended with a traceback: it took a sentence from the code of `pinloop up`."""
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {"pinloop.doctor.run", "pinloop.setup", "pinloop.backup"} <= set(done.stdout.split())

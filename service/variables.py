"""Variables that nobody reads: a misspelt PINLOOP_... would otherwise be ignored silently.

Every process knows the settings of all services (`setting_names`, made from the declarations), because
several of them often share one environment; what belongs to another is no mistake.
"""

import difflib
import sys
from collections.abc import Iterable, Mapping

from service.setting_names import SETTING_NAMES

__all__ = ["tell_unknown", "unknown"]

_BEGINS = "PINLOOP_"

# What is read elsewhere than through settings: the command, the stack's files, the tests.
OTHERS = (
    "PINLOOP_CONFIG",
    "PINLOOP_DATA_DIR",
    "PINLOOP_URL",
    "PINLOOP_PASSWORD",
    "PINLOOP_PASSWORD_FILE",
    "PINLOOP_IMAGE",
    "PINLOOP_INFLUXDB_BUCKET",
    "PINLOOP_INFLUXDB_URL",
    "PINLOOP_MQTT_TLS_NAMES",
    "PINLOOP_CHAOS_S",
    "PINLOOP_CHAOS_SEED",
    "PINLOOP_CRASH_AT",
    "PINLOOP_EXAMPLES",
    "PINLOOP_FAULT_TABLE",
    "PINLOOP_REQUIRE",
    "PINLOOP_STACK_PROJECT",
    "PINLOOP_STACK_RUN",
)


def unknown(environ: Iterable[str], own: Mapping[str, Iterable[str]] | None = None) -> list[str]:
    """Return a sentence for each variable that begins with PINLOOP_ and that no part of Pinloop reads.

    Args:
        environ: names of variables.
        own: service -> names of settings that are not among those of all services.
    """
    known = set(OTHERS)
    for table in (SETTING_NAMES, own or {}):
        for service, names in table.items():
            for name in names:
                for variable in (f"{_BEGINS}{service}_{name}".upper(), f"{_BEGINS}{name}".upper()):
                    known |= {variable, variable + "_FILE"}
    return [
        f"{name}: is no variable of Pinloop and has no effect{_nearest(name, known)}"
        for name in sorted(environ)
        if name.startswith(_BEGINS) and name not in known
    ]


def tell_unknown(who: str, environ: Iterable[str], own: Mapping[str, Iterable[str]] | None = None) -> None:
    """Print such sentences to stderr, as of `who`: nothing is refused, a later version may know them."""
    for sentence in unknown(environ, own):
        print(f"{who}: warning: {sentence}", file=sys.stderr)  # noqa: T201


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""

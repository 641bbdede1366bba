"""Names of others in our grammar: always the same one for the same text.

Device ids are [a-z0-9][a-z0-9_-]{0,31}, sensors [a-z][a-z0-9_]{0,31}. What is too
long is cut and ends in a hash of the whole, so that two long names stay two.
"""

import re
import unicodedata
from collections import OrderedDict
from functools import lru_cache
from zlib import crc32

from contract.errors import TopicError
from contract.limits import MAX_DEVICE_CHARS, MAX_NAME_CHARS

__all__ = ["MOST_NAME_CHARS", "RESERVED", "Claims", "device_id", "sensor_name"]

# Names that the store keeps for itself (store.points.RESERVED; a test compares them).
RESERVED = frozenset(("n", "boot", "device", "time"))
MOST_NAME_CHARS = 128
"""Of a foreign device: a longer one is refused, for its name is remembered."""
_HASH_CHARS = 8
_MOST_DEVICES = 20_000
_MOST_REMEMBERED = 4096
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")


@lru_cache(maxsize=_MOST_REMEMBERED)
def device_id(text: str) -> str:
    """Return the device id for a foreign name: `Living Room` is `living-room`, `AA:BB` is `aa-bb`.

    Raises:
        TopicError: nothing of it is left, or it is too long.
    """
    if len(text) > MOST_NAME_CHARS:
        raise TopicError("device", text, f"is longer than {MOST_NAME_CHARS} characters", "size")
    found = re.sub(r"[^a-z0-9_-]+", "-", _ascii(text).lower()).strip("-_")
    if not found:
        raise TopicError("device", text, "has no letter or digit to name a device by", "device")
    return _cut(found, text, MAX_DEVICE_CHARS)


def sensor_name(path: tuple[str, ...]) -> str:
    """Return the sensor's name for a path in a message: (`ENERGY`, `ApparentPower`) is `energy_apparent_power`.

    Raises:
        TopicError: nothing of it is left.
    """
    if sum(map(len, path)) <= MOST_NAME_CHARS:
        return _remembered_name(path)
    return _made_name(path)


def _made_name(path: tuple[str, ...]) -> str:
    whole = "/".join(path)
    parts = (_CAMEL.sub("_", _ascii(part)).lower() for part in path)
    found = re.sub(r"[^a-z0-9]+", "_", "_".join(parts)).strip("_")
    if not found:
        raise TopicError("name", whole, "has no letter or digit to name a sensor by", "name")
    if not found[0].isalpha():
        found = "s" + found
    if found in RESERVED:
        found += "_value"
    return _cut(found, whole, MAX_NAME_CHARS)


_remembered_name = lru_cache(maxsize=_MOST_REMEMBERED)(_made_name)


def _ascii(text: str) -> str:
    """Return the text without what ASCII lacks; accents leave their letters."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _cut(found: str, whole: str, most: int) -> str:
    if len(found) <= most:
        return found
    return found[: most - _HASH_CHARS - 1].rstrip("-_") + f"_{crc32(whole.encode(errors='replace')):08x}"


class Claims:
    """Which foreign device has which id: two of them must not become one.

    The first one keeps it, for as long as the process runs; a second one is refused until inputs.toml names it.
    """

    def __init__(self) -> None:
        self._owners: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def claim(self, source: str, name: str, device: str) -> str:
        """Return `device`, the id of what `source` (an input) calls `name`.

        Raises:
            TopicError: another one has it (reason "collision").
        """
        owner = self._owners.setdefault(device, (source, name))
        if owner != (source, name):
            rule = f"would be the device {device!r}, which is {owner[1]!r} of {owner[0]}: give it a name in [devices]"
            raise TopicError(f"{source} device", name, rule, "collision")
        if len(self._owners) > _MOST_DEVICES:
            self._owners.popitem(last=False)
        return device

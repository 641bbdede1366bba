"""Topics: the only place that builds or reads one.

A device id is [a-z0-9][a-z0-9_-]{0,31}, a sensor or pin name is
[a-z][a-z0-9_]{0,31}. Nothing else ever reaches a topic, so no label, file or
request can make the broker close a connection or hide a message in $SYS.
"""

from contract.errors import TopicError
from contract.limits import DEFAULT_PREFIX, MAX_DEVICE_CHARS, MAX_NAME_CHARS, MAX_PREFIX_CHARS

STATUS = "status"
INFO = "info"
READING = "reading/+"
READINGS = "readings"
RELAYED = "relayed"
PIN_SET = "pin/+/set"
PIN_STATE = "pin/+/state"
CMD = "cmd"
CONFIG_SET = "config/set"
CONFIG_STATE = "config/state"
OTA = "ota"
LOG = "log"

KINDS = (STATUS, INFO, READING, READINGS, RELAYED, PIN_SET, PIN_STATE, CMD, CONFIG_SET, CONFIG_STATE, OTA, LOG)

_LOWER = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
_DEVICE_FIRST = _LOWER + _DIGITS
_DEVICE_REST = _LOWER + _DIGITS + "_-"
_NAME_REST = _LOWER + _DIGITS + "_"
_PREFIX_CHARS = _LOWER + _LOWER.upper() + _DIGITS + "_-/"


def _spelled(text: object, first: str, rest: str, most: int) -> bool:
    if not isinstance(text, str) or not 0 < len(text) <= most or text[0] not in first:
        return False
    return all(char in rest for char in text)


def is_device(text: object) -> bool:
    """Tell whether `text` may be a device id."""
    return _spelled(text, _DEVICE_FIRST, _DEVICE_REST, MAX_DEVICE_CHARS)


def is_name(text: object) -> bool:
    """Tell whether `text` may name a sensor or a pin."""
    return _spelled(text, _LOWER, _NAME_REST, MAX_NAME_CHARS)


def check_device(device: object, key: str = "device") -> str:
    """Return `device`, or raise TopicError that states the grammar."""
    if not is_device(device):
        raise TopicError(key, device, "is not a device id: 1 to 32 of a-z 0-9 _ -, first a letter or digit", "device")
    return str(device)


def check_name(name: object, key: str = "name") -> str:
    """Return `name` (of a sensor or pin), or raise TopicError that states the grammar."""
    if not is_name(name):
        raise TopicError(key, name, "is not a name: 1 to 32 of a-z 0-9 _, first a letter", "name")
    return str(name)


class Topic:
    """A parsed topic.

    Attributes:
        kind: one of KINDS.
        device: the device id.
        name: the sensor or pin, "" for kinds without one.
    """

    def __init__(self, kind: str, device: str, name: str = "") -> None:
        self.kind = kind
        self.device = device
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Topic) and (self.kind, self.device, self.name) == (
            other.kind,
            other.device,
            other.name,
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.device, self.name))

    def __repr__(self) -> str:
        return "Topic({!r}, {!r}, {!r})".format(self.kind, self.device, self.name)


class Topics:
    """Builds and parses the topics below one prefix.

    Args:
        prefix: one or more levels of letters, digits, _ and - joined by "/".

    Raises:
        TopicError: the prefix is outside that grammar.
    """

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        good = _spelled(prefix, _PREFIX_CHARS, _PREFIX_CHARS, MAX_PREFIX_CHARS)
        if not good or "" in prefix.split("/"):
            raise TopicError("prefix", prefix, "is not levels of A-Z a-z 0-9 _ - joined by single slashes", "prefix")
        self.prefix = prefix
        self._start = prefix + "/"

    def build(self, kind: str, device: str, name: str = "") -> str:
        """Return the topic of `kind` for a device (and sensor or pin).

        Raises:
            TopicError: an id or name is outside the grammar, or is missing, or does not belong to the kind.
        """
        check_device(device)
        if kind not in KINDS:
            raise TopicError("kind", kind, "is not a kind of topic", "kind")
        if "+" in kind:
            kind = kind.replace("+", check_name(name))
        elif name:
            raise TopicError("name", name, "does not belong to " + kind, "name")
        return self._start + device + "/" + kind

    def every(self, kind: str) -> str:
        """Return the subscription filter for `kind` of every device."""
        return self._start + "+/" + kind

    def parse(self, topic: str) -> Topic:
        """Return what `topic` says.

        Raises:
            TopicError: it is not one of this prefix's topics.
        """
        if not topic.startswith(self._start):
            raise TopicError("topic", topic, "is not below " + self._start, "prefix")
        levels = topic[len(self._start) :].split("/")
        device = check_device(levels[0])
        name = ""
        if len(levels) > 2 and levels[1] in ("reading", "pin"):
            name = levels[2]
            levels[2] = "+"
        kind = "/".join(levels[1:])
        if kind not in KINDS or ("+" in kind and not name):
            raise TopicError("topic", topic, "is not a topic of the contract", "kind")
        if name:
            check_name(name)
        return Topic(kind, device, name)

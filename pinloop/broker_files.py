"""The broker's three files: mosquitto.conf, the ACL and the password file, as text.

Used by the stack (mosquitto/ is generated from here) and by `pinloop up`.
Works on mosquitto 2.0 and 2.1: 2.1 calls `password_file` and `acl_file`
deprecated in favour of plugins that 2.0 does not have, and reads them.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath

from contract import topics
from contract.errors import TopicError
from contract.limits import DEFAULT_PREFIX, MAX_PAYLOAD_BYTES
from inputs import Inputs
from inputs.declared import NONE
from pinloop.secrets import is_mosquitto_password, mosquitto_password_line
from webhook.foreign.model import Device

__all__ = [
    "DOCTOR_DEVICE",
    "HEALTH_TOPIC",
    "HEALTH_USER",
    "SERVICE_USERS",
    "acl_text",
    "check_users",
    "mosquitto_conf",
    "password_text",
    "stack_files",
]

# The dot keeps these names out of the device-id grammar: no device can be called like a service.
SERVICE_USERS = ("svc.listener", "svc.rules", "svc.webhook", "svc.hub")
HEALTH_USER = "svc.health"
HEALTH_TOPIC = "$SYS/broker/uptime"
# The device that `pinloop doctor` pretends to be: no board is called so, and nothing of it is retained or stored.
DOCTOR_DEVICE = "pinloop-doctor"

# Who may do what, by kind of topic. "#" stands for every topic below the prefix.
_SERVICE_RIGHTS: dict[str, tuple[tuple[str, str], ...]] = {
    "svc.listener": (("read", "#"), ("write", topics.RELAYED)),
    "svc.rules": tuple(("read", kind) for kind in (topics.READING, topics.READINGS, topics.RELAYED, topics.STATUS)),
    "svc.webhook": (
        ("readwrite", topics.PIN_SET),
        ("read", topics.PIN_STATE),
        ("read", topics.STATUS),
        ("read", topics.INFO),
    ),
    "svc.hub": (("read", "#"), ("write", topics.CMD), ("write", topics.CONFIG_SET)),
}
_DEVICE_READS = (topics.PIN_SET, topics.CMD, topics.CONFIG_SET)
_DEVICE_WRITES = tuple(kind for kind in topics.KINDS if kind not in (*_DEVICE_READS, topics.RELAYED))


# Who hears what other firmware publishes.
_HEARS_INPUTS = ("svc.listener", "svc.rules")


def acl_text(prefix: str = DEFAULT_PREFIX, inputs: Inputs = NONE, devices: Iterable[Device] = ()) -> str:
    """Return the ACL file: a device touches its own topics, a service those of its duty, nobody anything else.

    Args:
        prefix: the first level(s) of the contract's topics.
        inputs: other firmware: its devices may touch what it needs, listener and rules hear it.
        devices: of other firmware, which the webhook commands and speaks for: their topics, and no other.

    Raises:
        TopicError: the prefix is outside the contract's grammar.
    """
    every = topics.Topics(prefix)
    foreign = list(devices)
    lines = [
        "# Made by pinloop/broker_files.py (the files in mosquitto/ by `python -m pinloop.broker_files`).",
        "# A denied publish is acknowledged and dropped: a client cannot tell. A denied read arrives nowhere.",
    ]
    for user, rights in _SERVICE_RIGHTS.items():
        lines += ["", f"user {user}"]
        # The patterns at the end hold for every user: without this a service could write below its own name.
        lines.append(f"topic deny {prefix}/{user}/#")
        lines += [
            f"topic {right} {prefix}/#" if kind == "#" else f"topic {right} {every.every(kind)}"
            for right, kind in rights
        ]
        if user == "svc.webhook":
            lines += _bridge_rights(every, foreign)
        if user in _HEARS_INPUTS:
            lines += [f"topic read {wanted}" for wanted in inputs.filters()]
    for user, right, wanted in inputs.rights():
        if user != "%u":  # a bridge that signs in once for all its devices, or a device with a topic of its own
            lines += ["", f"user {user}", f"topic {right} {wanted}"]
    for device in foreign:
        lines += ["", f"user {device.user}"]
        lines += [f"topic read {topic}" for topic in dict.fromkeys(device.firmware.writes)]
        lines += [f"topic write {topic}" for topic in device.firmware.reads]
    lines += ["", f"user {HEALTH_USER}", f"topic deny {prefix}/{HEALTH_USER}/#", f"topic read {HEALTH_TOPIC}"]
    lines += ["", "# Each device signs in with its device id as user name (%u)."]
    lines += [f"pattern read {prefix}/%u/{kind}" for kind in _DEVICE_READS]
    lines += [f"pattern write {prefix}/%u/{kind}" for kind in _DEVICE_WRITES]
    lines += [f"pattern {right} {wanted}" for user, right, wanted in inputs.rights() if user == "%u"]
    return "\n".join(lines) + "\n"


def check_users(
    users: Iterable[str], prefix: str = DEFAULT_PREFIX, inputs: Inputs = NONE, devices: Iterable[Device] = ()
) -> None:
    """Check that no user's name makes a pattern reach what is not its own.

    `%u/status` of a user `pinloop` would be below everybody's prefix, and `homie/%u/#` of a user `5` every device of
    Homie 5: a name must not stand where another right has that level.

    Args:
        users: names of devices at the broker.
        prefix, inputs, devices: as in `acl_text`.

    Raises:
        TopicError: one is such a name.
    """
    rights = [(user, topic) for user, _, topic in inputs.rights()]
    patterns = [topic.split("/") for user, topic in rights if user == "%u"]
    for device in devices:
        rights += [(device.user, topic) for topic in (*device.firmware.writes, *device.firmware.reads)]
    rights.append(("", f"{prefix}/%u/#"))
    names = set(users)
    for pattern in patterns:
        at = pattern.index("%u")
        for user, topic in rights:
            levels = topic.split("/")
            beside = len(levels) > at and all(map(_may_be, levels[:at], pattern[:at]))
            if beside and levels[at] in names - {user}:
                rule = f"would by {'/'.join(pattern)!r} have rights at {topic!r}, which is not its own: choose another"
                raise TopicError("device", levels[at], rule, "reserved")


def _may_be(one: str, other: str) -> bool:
    """Tell whether two levels of filters can be the same level of a topic."""
    return one == other or bool({one, other} & {"+", "%u"})


def _bridge_rights(every: topics.Topics, devices: Iterable[Device]) -> Iterator[str]:
    """Yield what the webhook needs to stand in for devices of other firmware."""
    for device in devices:
        spoken = [every.build(kind, device.name) for kind in (topics.STATUS, topics.INFO)]
        spoken += [every.build(topics.PIN_STATE, device.name, pin) for pin in device.pins]
        for topic in (*spoken, *dict.fromkeys(device.firmware.writes)):
            yield f"topic write {topic}"
        for topic in device.firmware.reads:
            yield f"topic read {topic}"


def password_text(accounts: Mapping[str, str], old: str = "") -> str:
    """Return the password file for `accounts` (user -> password).

    Lines of `old` that still hold are kept as they are: their salt is random, and a file that changes without need
    would make the broker read it again.

    Raises:
        ValueError: a user name cannot stand in such a file.
    """
    known = {line.partition(":")[0]: line for line in old.splitlines() if ":" in line}
    lines = [
        known[user]
        if user in known and is_mosquitto_password(known[user], password)
        else mosquitto_password_line(user, password)
        for user, password in sorted(accounts.items())
    ]
    return "\n".join(lines) + "\n"


def mosquitto_conf(
    listen: str,
    port: int,
    folder: PurePath,
    run_as_root: bool = False,
    *,
    password_path: PurePath | None = None,
    acl_path: PurePath | None = None,
    tls_port: int = 0,
    certificate_path: PurePath | None = None,
) -> str:
    """Return the text of mosquitto.conf.

    Args:
        listen: address to listen on; "" for every interface.
        port: TCP port.
        folder: where the broker keeps its database; it must be able to write there.
        run_as_root: the broker is started by root and stays root. Otherwise one started by root becomes user
            `mosquitto`, and silently keeps nothing when that user cannot write `folder`.
        password_path, acl_path: the two files; default `passwd` and `acl` in `folder`.
        tls_port: TCP port of a second listener, with TLS 1.2 or later; 0: none.
        certificate_path: its key and certificate in one file, so that both change at once; default `certificate` in
            `folder`. Clients show passwords, not certificates: the broker needs no authority's.
    """
    lines = [
        "# Made by pinloop/broker_files.py (the files in mosquitto/ by `python -m pinloop.broker_files`).",
        f"listener {port} {listen}".rstrip(),
        "allow_anonymous false",
        f"password_file {password_path or folder / 'passwd'}",
        f"acl_file {acl_path or folder / 'acl'}",
        "",
        "# Small packets wait 40 ms for a delayed ACK otherwise.",
        "set_tcp_nodelay true",
        "",
        "# A crash forgets what changed since the last save. Saving on every change rewrites the whole database each",
        "# time (26 times slower): who owns a retained message publishes it again instead.",
        "persistence true",
        f"persistence_location {folder}/",
        "autosave_interval 10",
        "",
        "# A listener that is away for a while: the default of 1000 messages drops the rest after acknowledging it.",
        "# 0 is not reliably unlimited in 2.0, so both bounds are numbers; the first one reached counts.",
        "max_queued_messages 500000",
        "max_queued_bytes 100000000",
        "# The listener acknowledges what the store has taken: at 20 (the default) that is 20 readings a write.",
        "max_inflight_messages 5000",
        f"max_packet_size {MAX_PAYLOAD_BYTES}",
        "",
        "log_dest stdout",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        "connection_messages true",
    ]
    if tls_port:
        certificate = certificate_path or folder / "certificate"
        lines += [
            "",
            "# The same users and rights, encrypted. SIGHUP reads a new certificate.",
            f"listener {tls_port} {listen}".rstrip(),
            f"certfile {certificate}",
            f"keyfile {certificate}",
            "tls_version tlsv1.2",
        ]
    if run_as_root:
        lines.append("user root")
    return "\n".join(lines) + "\n"


def stack_files() -> dict[Path, str]:
    """Return path -> text of the files in mosquitto/; the stack's broker takes its users and rights from `setup`."""
    folder = Path(__file__).parent.parent / "mosquitto"
    secrets = PurePath("/secrets/mosquitto")
    data = PurePath("/mosquitto/data")
    conf = mosquitto_conf(
        "",
        1883,
        data,
        password_path=secrets / "passwd",
        acl_path=secrets / "acl",
        tls_port=8883,
        certificate_path=secrets / "certificate",
    )
    return {folder / "mosquitto.conf": conf, folder / "acl": acl_text()}


if __name__ == "__main__":
    for path, text in stack_files().items():
        path.write_text(text, encoding="utf-8")

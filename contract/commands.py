"""Commands to a pin and the states that it reports.

`pin/<pin>/set` carries a lease: a value that ends after `ttl` seconds unless it
is renewed. `pin/<pin>/state` says what the pin is, which command it followed
and why.
"""

from contract.errors import PayloadError
from contract.limits import DEFAULT_TTL_S, MAX_BY_CHARS, MAX_COMMAND_BYTES, MAX_INTEGER, MAX_TTL_S
from contract.payloads import bare_number, encode, integer, json_of, mapping, number, string, text_of

COMMAND = "command"
RELEASED = "released"
EXPIRED = "expired"
LINK_LOST = "link-lost"
BOOT = "boot"
GUARD = "guard"
LOCAL = "local"
WHYS = (COMMAND, RELEASED, EXPIRED, LINK_LOST, BOOT, GUARD, LOCAL)


class Command:
    """What `set` asks for.

    Attributes:
        value: the wanted value of the pin; 0 or 1, or a duty for pins with a range.
        seq: grows with every command of an epoch (milliseconds since 1970); 0 for a bare number.
        epoch: names the claims database that counts `seq`; "" for a bare number.
        ttl_s: seconds after receipt at which the lease ends.
        by: who wants it, for people.
        force: towards the pin's safe value, do not wait for the guards that spare the machine; else of no effect.
    """

    def __init__(
        self,
        value: float,
        seq: int = 0,
        epoch: str = "",
        ttl_s: int = DEFAULT_TTL_S,
        by: str = "",
        force: bool = False,
    ) -> None:
        self.value = value
        self.seq = seq
        self.epoch = epoch
        self.ttl_s = ttl_s
        self.by = by
        self.force = force

    def encode(self) -> bytes:
        """Return the payload of `set`."""
        fields = {"v": self.value, "seq": self.seq, "epoch": self.epoch, "ttl": self.ttl_s, "by": self.by}
        if self.force:
            fields["force"] = 1
        return encode(fields)


def decode_command(payload: bytes) -> "Command | None":
    """Return the command in a `set` payload, None when it is empty (the pin is released).

    Raises:
        PayloadError: anything else.
    """
    text = text_of(payload, "command", MAX_COMMAND_BYTES)
    if not text:
        return None
    if not text.lstrip().startswith("{"):
        return Command(bare_number(text, "command"))
    fields = mapping(json_of(text, "command"), "command")
    if "v" not in fields:
        raise PayloadError("command", text, "has no v", "shape")
    return Command(
        number(fields["v"], "command.v"),
        integer(fields.get("seq", 0), "command.seq", 0, MAX_INTEGER),
        string(fields.get("epoch", ""), "command.epoch", 16),
        integer(fields.get("ttl", DEFAULT_TTL_S), "command.ttl", 1, MAX_TTL_S),
        string(fields.get("by", ""), "command.by", MAX_BY_CHARS),
        integer(fields.get("force", 0), "command.force", 0, 1) == 1,
    )


class State:
    """What a pin is.

    Attributes:
        value: the value, as it was set.
        seq: the `seq` of the command that it followed last, 0 for none.
        why: one of WHYS.
    """

    def __init__(self, value: float, seq: int, why: str) -> None:
        self.value = value
        self.seq = seq
        self.why = why

    def encode(self) -> bytes:
        """Return the payload of `state`."""
        return encode({"v": self.value, "seq": self.seq, "why": self.why})


def decode_state(payload: bytes) -> State:
    """Return the state in a `state` payload.

    Raises:
        PayloadError: it is not one.
    """
    text = text_of(payload, "state", MAX_COMMAND_BYTES)
    fields = mapping(json_of(text, "state"), "state")
    if "v" not in fields:
        raise PayloadError("state", text, "has no v", "shape")
    why = fields.get("why", COMMAND)
    if why not in WHYS:
        raise PayloadError("state.why", why, "is not one of " + ", ".join(WHYS), "why")
    return State(number(fields["v"], "state.v"), integer(fields.get("seq", 0), "state.seq", 0, MAX_INTEGER), str(why))

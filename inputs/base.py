"""What every input is."""

from collections.abc import Sequence
from typing import Protocol

from contract.errors import TopicError
from inputs.facts import Fact
from inputs.names import Claims, device_id
from inputs.table import Table

__all__ = ["Context", "Input"]


class Context:
    """What the inputs share.

    Args:
        devices: "input/foreign name" or "foreign name" -> device id, as the file's [devices] says.
    """

    def __init__(self, devices: dict[str, str] | None = None) -> None:
        self._devices = devices or {}
        self._given = frozenset(self._devices.values())
        self._claims = Claims()

    def device(self, source: str, name: str) -> str:
        """Return the device id for what the input `source` calls `name`.

        Raises:
            TopicError: no id can be made of it, or another device has that id.
        """
        given = self._devices.get(f"{source}/{name}") or self._devices.get(name)
        if given:
            return given
        made = device_id(name)
        if made in self._given:
            rule = f"would be the device {made!r}, which [devices] gives to another: give it a name there, too"
            raise TopicError(f"{source} device", name, rule, "collision")
        return self._claims.claim(source, name, made)


class Input(Protocol):
    """An input: made from its table of the file, which it checks; it opens nothing and has no clock.

    Attributes:
        name: of the input, and of its table and folder.
        filters: what it subscribes to.
        own: topics beside `filters` that only the listener itself hands over, never the broker.
        rights: (user, right, topic filter) that its devices need at the broker; %u stands for each device's user name.
    """

    @property
    def name(self) -> str: ...
    @property
    def filters(self) -> Sequence[str]: ...
    @property
    def own(self) -> Sequence[str]: ...
    @property
    def rights(self) -> Sequence[tuple[str, str, str]]: ...

    def __init__(self, table: Table, context: Context) -> None: ...

    def decode(self, topic: str, payload: bytes) -> list[Fact]:
        """Return what a message says; none when it says nothing that is stored.

        Raises:
            ContractError: it cannot be read; no message raises anything else.
        """
        ...

"""A claims database with guards, on a clock that the test moves."""

from dataclasses import dataclass, field
from pathlib import Path

from contract.topics import Topics
from tests.webhook.desk import NOW_S, notice
from webhook.claims import Claims
from webhook.commands import Commands, Pin, PinCommand
from webhook.database import Database
from webhook.dialects import RESOLVED
from webhook.guards import Limits
from webhook.holds import Holds
from webhook.observed import Observed, Reported

MAIN, BACK = ("pump", "main"), ("pump", "back")
LEASE_S = 300


@dataclass
class Guarded:
    """A webhook without its connections, and the time."""

    path: Path
    limits: dict[Pin, Limits]
    now_s: float = NOW_S
    heard: bool = True
    foreign: dict[Pin, dict[str, object]] = field(default_factory=dict)

    def open(self) -> "Guarded":
        self.database = Database(self.path)
        self.observed = Observed(Topics(), lambda _device: None)
        self.observed.pins["pump"] = {"main": {"safe": 0}, "back": {"safe": 0}}
        self.observed.status["pump"] = "online"
        self.commands = Commands(self.database, LEASE_S)
        self.holds = Holds(
            self.database,
            self.commands,
            self.observed,
            self.limits,
            LEASE_S,
            heard=lambda: self.heard,
            foreign=lambda pin: self.foreign.get(pin, {}),
        )
        self.claims = Claims(self.database, self.commands, self.observed.safe, {}, 300, holds=self.holds)
        return self

    def restart(self) -> None:
        self.database.close()
        self.open()

    def fire(self, name: str, pin: Pin = MAIN, value: float = 1, slot: str = "") -> list[PinCommand]:
        said = notice(starts_at=NOW_S, fingerprint=name, actuate=f"{'/'.join(pin)}={value}", slot=slot)
        return self.claims.notify([said], self.now_s)[1]

    def end(self, name: str, pin: Pin = MAIN, status: str = RESOLVED) -> list[PinCommand]:
        said = notice(status, NOW_S, name, f"{'/'.join(pin)}=1")
        return self.claims.notify([said], self.now_s)[1]

    def later(self, seconds: float) -> list[PinCommand]:
        """Let time pass, the guards look, and return what they send."""
        self.now_s += seconds
        return self.claims.look_again(self.now_s)

    def report(self, pin: Pin, value: float) -> None:
        self.observed.reported[pin] = Reported(value, 1, "command", self.now_s, self.now_s)

    def value(self, pin: Pin = MAIN) -> float | None:
        command = self.commands.of(pin)
        return command.value if command else None

    def held(self, pin: Pin = MAIN) -> tuple[str, float | None] | None:
        """Return the guard that holds the pin back and when that passes, in seconds from now."""
        waiting = self.holds.of(pin)
        return waiting and (waiting.by, None if waiting.until_s is None else waiting.until_s - self.now_s)


EXCLUSIVE = {"main": Limits(exclusive_with=frozenset({BACK})), "back": Limits(exclusive_with=frozenset({MAIN}))}

"""A claims database with what is around it, and short ways to say what happens to it."""

from dataclasses import dataclass
from pathlib import Path

from webhook.claims import Claims
from webhook.commands import Commands
from webhook.database import Database
from webhook.dialects import FIRING, Notification

PIN = ("lights", "red")
CLAIM_TTL_S = 300
NOW_S = 1_800_000_000.0
SAFE = 0.25


@dataclass
class Desk:
    database: Database
    claims: Claims
    commands: Commands

    def value(self, pin: tuple[str, str] = PIN) -> float | None:
        """Return what the pin's command asks for, None when it is released or never had one."""
        command = self.commands.of(pin)
        return command.value if command else None


def open_desk(path: Path) -> Desk:
    database = Database(path)
    commands = Commands(database, ttl_s=300)
    safe = {PIN: SAFE}.get
    return Desk(database, Claims(database, commands, safe, {}, CLAIM_TTL_S), commands)


def notice(
    status: str = FIRING,
    starts_at: float = NOW_S,
    fingerprint: str = "f1",
    actuate: str = "lights/red=1",
    slot: str = "",
) -> Notification:
    labels = {"alertname": fingerprint, "actuate": actuate, **({"slot": slot} if slot else {})}
    return Notification(fingerprint, starts_at, status, fingerprint, labels, {})


def outcome(desk: Desk, notification: Notification, now_s: float = NOW_S) -> str:
    return desk.claims.notify([notification], now_s)[0][0].outcome

"""Where local mode keeps things, and where it listens. Pure: makes no file, opens no port."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Layout", "Ports"]


@dataclass(frozen=True)
class Ports:
    """The TCP ports of local mode."""

    mqtt: int = 1883
    hub: int = 8080
    webhook: int = 8081
    listener: int = 8082
    rules: int = 8083

    def named(self) -> dict[str, int]:
        """Return option name -> port."""
        return {name + "-port": getattr(self, name) for name in ("mqtt", "hub", "webhook", "listener", "rules")}


@dataclass(frozen=True)
class Layout:
    """The data folder of local mode.

    Attributes:
        data: the folder; everything that must survive is in it.
        rules: the rules file.
    """

    data: Path
    rules: Path

    @property
    def secrets(self) -> Path:
        return self.data / "secrets"

    @property
    def broker(self) -> Path:
        return self.data / "broker"

    @property
    def logs(self) -> Path:
        return self.data / "log"

    @property
    def store(self) -> Path:
        return self.data / "store.db"

    @property
    def pins(self) -> Path:
        return self.data / "pins.yml"

    @property
    def routes(self) -> Path:
        return self.data / "routes.yml"

    @property
    def claims(self) -> Path:
        return self.data / "claims.db"

    @property
    def tokens(self) -> Path:
        return self.data / "tokens.json"

    @property
    def rules_state(self) -> Path:
        return self.data / "rules.db"

    @property
    def inputs(self) -> Path:
        """Return the file that declares other firmware."""
        return self.data / "inputs.toml"

    @property
    def dead_letters(self) -> Path:
        return self.data / "dead-letters.jsonl"

    @property
    def spool(self) -> Path:
        return self.data / "spool"

    @property
    def devices(self) -> Path:
        return self.data / "devices"

    @property
    def lock(self) -> Path:
        return self.data / "lock"

    @property
    def running(self) -> Path:
        """Describes the running instance to other `pinloop` commands; gone when it stops."""
        return self.data / "running.json"

    @property
    def hmac_key(self) -> Path:
        """Return the file with the key that signs what rules post."""
        return self.secrets / "hmac_key"

    def password(self, user: str) -> Path:
        """Return the file with the password of a broker user, `console`, `alerts` or `operator`."""
        return self.secrets / f"{user}.password"

    def inputs_mistake(self, error: Exception) -> str:
        """Return what is wrong with the inputs' file, with its whole path: by itself it says the last part or none."""
        return f"{self.inputs}: {str(error).removeprefix(self.inputs.name + ': ')}"

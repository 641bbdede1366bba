"""The setting that names the inputs' file, the same in every service that reads it."""

from dataclasses import dataclass
from pathlib import Path

from service.settings import setting

__all__ = ["InputsSettings"]


@dataclass(frozen=True, kw_only=True)
class InputsSettings:
    """Which firmware of others is understood."""

    inputs_path: Path = setting(Path(), "File that declares inputs of other firmware (TOML); empty: none.")

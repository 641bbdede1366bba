"""Errors of the operator's command.

PinloopError(Exception)     shown as "what happened / what to do", exit 1
"""

import click

__all__ = ["PinloopError"]


class PinloopError(click.ClickException):
    """Something that the operator can mend.

    Args:
        message: what happened.
        hint: what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def format_message(self) -> str:
        """Return the message with its hint on a second line."""
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

"""`pinloop backup` and `pinloop restore`: everything that must survive, in one file that can be checked."""

from pinloop.backup.command import backup, restore

__all__ = ["backup", "restore"]

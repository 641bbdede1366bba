"""Local mode: the whole loop as child processes of one command, no Docker, no root."""

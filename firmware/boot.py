"""Runs first on a board: counts the start."""

from firmware import board

board.count_boot()

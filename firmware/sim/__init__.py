"""Runs the firmware on a computer."""

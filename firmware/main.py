"""Runs after boot.py, for as long as the device has power."""

from firmware import app

app.main()

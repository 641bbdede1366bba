"""Readings in: MQTT -> store, acknowledged to the broker only when they are stored."""

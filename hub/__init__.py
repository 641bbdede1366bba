"""Devices and people: the web console, the REST API and the live picture behind them.

Listens to the broker, asks the webhook, reads the store; decides nothing and
never publishes.
"""

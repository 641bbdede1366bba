"""Alerts in, claims, arbitration, leased commands out: the only writer of commands."""

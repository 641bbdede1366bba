"""Errors of the shared parts.

ServiceError(Exception)
  SettingsError   a setting cannot be used; the message names it, its value and the rule
  StartError      the service cannot start: a port is taken, a file is in use
"""


class ServiceError(Exception):
    """Base of what the shared parts raise."""


class SettingsError(ServiceError):
    """A setting cannot be used."""


class StartError(ServiceError):
    """The service cannot start; the message says what to do."""

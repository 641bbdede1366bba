"""Conditions: rules.yml, evaluated here as readings arrive, or rendered for Grafana.

    readings (MQTT) -> intake -> evaluate -> alerts -> state (commit) -> poster -> webhook

`load`, `evaluate`, `daily`, `alerts` and `grafana` take values and return values; `runner`, `state`, `poster` and
`rulebook` hold the lock, the database, the connection and the file.
"""

"""Grafana: does it run, was everything provisioned, and may it post to the webhook.

Sources: Grafana HTTP API (health, data source, alerting provisioning, rules in Prometheus' form); all of it is in every
version from 9.2 on. Tried with 9.2.0.
"""

from collections.abc import Iterator
from typing import Any

from pinloop.doctor.ask import Answer, NoAnswer, ask
from pinloop.doctor.findings import Finding, broken, fine, warning
from pinloop.doctor.target import Target

__all__ = ["check_grafana"]

_SOURCE = "influxdb"  # the uid in grafana/provisioning/datasources
# What Grafana 9 says of a database without measurements, and of one whose answer it cannot read; 10 and later tell
# them apart.
_EMPTY = "error connecting influxDB influxQL"


def check_grafana(target: Target) -> Iterator[Finding]:
    """Ask Grafana as `admin`; nothing when there is none."""
    url = target.grafana_url
    if not url:
        return
    try:
        health = ask(f"{url}/api/health")
        said = health.json()
        if health.status != 200 or said.get("database") != "ok":
            yield broken(
                "grafana",
                f"{url} answers {health.status}, its database is not ok.",
                f"Look at {target.log_of('grafana')}.",
            )
            return
        yield fine("grafana", f"{url} runs, version {said.get('version', 'unknown')}.")
        if "grafana" in target.passwords:
            yield from _provisioned(target, url, ("admin", target.passwords["grafana"]))
    except NoAnswer as error:
        yield broken("grafana", f"{url} {error}.", f"Look at {target.log_of('grafana')}, then {target.again}.")


def _provisioned(target: Target, url: str, admin: tuple[str, str]) -> Iterator[Finding]:
    contacts = ask(f"{url}/api/v1/provisioning/contact-points", basic=admin)
    if contacts.status in (401, 403):
        yield warning(
            "grafana password",
            f"Grafana refuses `admin` with the password of the secrets ({contacts.status}): it was changed there.",
            "Nothing has to be done; back: docker compose exec grafana grafana cli admin reset-admin-password WORD.",
        )
        return
    yield _contact(target, contacts)
    source = ask(f"{url}/api/datasources/uid/{_SOURCE}", basic=admin)
    if source.status != 200:
        yield _missing(target, f"has no data source `{_SOURCE}` ({source.status})")
    else:
        yield _source(ask(f"{url}/api/datasources/uid/{_SOURCE}/health", basic=admin))
    yield _rules(target, ask(f"{url}/api/prometheus/grafana/api/v1/rules", basic=admin))


def _source(tried: Answer) -> Finding:
    """Say whether Grafana reads the store with the token that it was given."""
    name = "grafana data source"
    if tried.status == 200:
        return fine(name, f"`{_SOURCE}` is there and reads the store.")
    said = tried.json()
    message = str(said.get("message", "")).strip() if isinstance(said, dict) else ""
    if message == _EMPTY:
        return warning(name, f"`{_SOURCE}` finds no readings yet.", "Ask again when a device has published.")
    return broken(
        name,
        f"`{_SOURCE}` cannot read the store ({tried.status}: {message}).",
        "Look at the findings on the store; after new tokens: docker compose restart grafana.",
    )


def _rules(target: Target, answer: Answer) -> Finding:
    """Say how many alert rules are loaded, and which cannot be evaluated."""
    name = "grafana rules"
    try:
        rules = [rule for group in answer.json()["data"]["groups"] for rule in group["rules"]]
    except (KeyError, TypeError):
        return broken(
            name, f"Its alert rules cannot be listed ({answer.status}).", _LOG.format(target.log_of("grafana"))
        )
    failing = [str(rule.get("name")) for rule in rules if _fails(rule)]
    if failing:
        return broken(
            name,
            f"{len(failing)} of {len(rules)} alert rules cannot be evaluated: {', '.join(failing)}.",
            "Their alerts stay as they are meanwhile. Look at the findings on the store, then at the rule in Grafana.",
        )
    return fine(name, f"{len(rules)} alert rules are loaded, and evaluated without errors.")


def _fails(rule: dict[str, Any]) -> bool:
    """Tell whether a rule's last evaluation failed; with `execErrState` its alerts' states say so, not its health."""
    states = [str(one.get("state", "")) for one in rule.get("alerts") or ()]
    return rule.get("health") == "error" or any("(Error" in state for state in states)


def _contact(target: Target, answer: Answer) -> Finding:
    """Say whether a contact point posts to the webhook as `alerts`."""
    points: Any = answer.json()
    hooks = [one for one in points if one.get("type") == "webhook"] if isinstance(points, list) else []
    for one in hooks:
        settings = one.get("settings", {})
        if str(settings.get("url", "")).endswith("/alert") and settings.get("username") == "alerts":
            return fine("grafana contact point", f"Alerts go to {settings['url']} as `alerts`.")
    return _missing(target, "has no contact point that posts to the webhook as `alerts`")


_LOG = "Look at {} for what it says on provisioning, mend it, and restart Grafana."


def _missing(target: Target, what: str) -> Finding:
    return broken("grafana provisioning", f"Grafana {what}.", _LOG.format(target.log_of("grafana")))

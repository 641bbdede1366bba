"""Grafana: does it run, was everything provisioned, and may it post to the webhook.

Sources: Grafana HTTP API (health, data source, alerting provisioning).
"""

from collections.abc import Iterator
from typing import Any

from pinloop.doctor.ask import Answer, NoAnswer, ask
from pinloop.doctor.findings import Finding, broken, fine, warning
from pinloop.doctor.target import Target

__all__ = ["check_grafana"]

_SOURCE = "influxdb"  # the uid in grafana/provisioning/datasources


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
        tried = ask(f"{url}/api/datasources/uid/{_SOURCE}/health", basic=admin)
        if tried.status == 200:
            yield fine("grafana data source", f"`{_SOURCE}` is there and reads the store.")
        else:
            message = tried.json().get("message", "") if isinstance(tried.json(), dict) else ""
            yield broken(
                "grafana data source",
                f"`{_SOURCE}` cannot read the store ({tried.status}: {message}).",
                "Look at the findings on the store; after new tokens: docker compose restart grafana.",
            )
    rules = ask(f"{url}/api/v1/provisioning/alert-rules", basic=admin)
    if rules.status == 200 and isinstance(rules.json(), list):
        count = len(rules.json())
        yield fine("grafana rules", f"{count} alert rules are loaded.")
    else:
        yield broken(
            "grafana rules",
            f"Its alert rules cannot be listed ({rules.status}).",
            _LOG.format(target.log_of("grafana")),
        )


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

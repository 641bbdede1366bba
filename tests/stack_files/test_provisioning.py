"""Grafana's provisioning: only keys that its loader knows, and names that exist.

Grafana does not start with a broken alerting file, ignores keys that it does not know, and replaces variables that
are not set with nothing: none of it is seen before somebody waits for an alert.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook.access.settings import AccessSettings
from webhook.access.signature import HEADERS

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "grafana" / "provisioning"
FILES = sorted(path.relative_to(PROVISIONING) for path in PROVISIONING.rglob("*.yaml"))
GRAFANA = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["grafana"]

# Folder -> the keys of the file, and of each element of its lists. Sources: Grafana's pkg/services/provisioning
# (datasources/types.go, dashboards/types.go, alerting/*_types.go) and the webhook receiver's config.go.
KEYS: dict[str, dict[str, set[str]]] = {
    "datasources": {
        "": {"apiVersion", "prune", "datasources", "deleteDatasources"},
        "datasources": {
            *("name", "uid", "orgId", "type", "access", "url", "user", "isDefault", "editable", "version"),
            *("jsonData", "secureJsonData", "basicAuth", "basicAuthUser", "withCredentials", "correlations"),
        },
    },
    "dashboards": {
        "": {"apiVersion", "providers"},
        "providers": {
            *("name", "orgId", "type", "folder", "folderUid", "disableDeletion", "allowUiUpdates"),
            *("updateIntervalSeconds", "editable", "options"),
        },
    },
    "alerting": {
        "": {
            *("apiVersion", "contactPoints", "policies", "groups", "deleteContactPoints", "deleteRules"),
            *("resetPolicies", "templates", "muteTimes"),
        },
        "contactPoints": {"orgId", "name", "receivers"},
        "receivers": {"uid", "type", "settings", "disableResolveMessage"},
        "policies": {
            *("orgId", "receiver", "group_by", "group_wait", "group_interval", "repeat_interval", "routes"),
            *("object_matchers", "matchers", "continue", "mute_time_intervals", "active_time_intervals"),
        },
    },
}
KEYS["alerting"]["routes"] = KEYS["alerting"]["policies"] - {"orgId"}
WEBHOOK_SETTINGS = {
    "url",
    "httpMethod",
    "username",
    "password",
    "maxAlerts",
    "title",
    "message",
    "headers",
    "hmacConfig",
}


def load(name: str | Path) -> dict[str, Any]:
    """Return a file of the provisioning folder."""
    loaded: dict[str, Any] = yaml.safe_load((PROVISIONING / name).read_text(encoding="utf-8"))
    return loaded


def unknown(keys: dict[str, set[str]], element: dict[str, Any], kind: str = "") -> list[str]:
    """Return the keys of an element that Grafana does not know, and those of the elements in its lists."""
    found = [f"{kind}.{key}" for key in element if key not in keys[kind]]
    for key, value in element.items():
        if key in keys and isinstance(value, list):
            found += [problem for one in value for problem in unknown(keys, one, key)]
    return found


def seconds(text: str) -> int:
    """Return a duration in seconds."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


@pytest.mark.parametrize("name", FILES, ids=str)
def test_every_key_is_one_that_grafana_reads(name: Path) -> None:
    """Grafana ignores the others without a word."""
    assert load(name)["apiVersion"] == 1
    assert unknown(KEYS[name.parts[0]], load(name)) == []


@pytest.mark.parametrize("name", FILES, ids=str)
def test_every_variable_and_secret_that_a_file_names_is_given_to_grafana(name: Path) -> None:
    """In docker-compose.yml; a name that is not set becomes nothing."""
    text = "\n".join(strings(load(name)))
    variables = set(re.findall(r"(?<!\$)\$\{?([A-Z][A-Z0-9_]*)", text))
    files = set(re.findall(r"\$__file\{([^}]*)\}", text))

    assert variables <= set(GRAFANA["environment"])
    assert all(path.startswith("/secrets/grafana/") for path in files)
    assert "secrets:/secrets:ro" in GRAFANA["volumes"]


def strings(value: Any) -> list[str]:
    """Return every text in a file except what Grafana leaves alone: the model of a rule's query."""
    if isinstance(value, dict):
        return [text for key, one in value.items() if key != "model" for text in strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


def test_the_data_source_is_the_one_that_dashboards_and_rules_name() -> None:
    """A fixed uid; the token goes in a header from a file."""
    (source,) = load("datasources/influxdb.yaml")["datasources"]

    assert (source["uid"], source["type"], source["access"]) == ("influxdb", "influxdb", "proxy")
    assert "version" not in source["jsonData"]  # without it: InfluxQL
    assert source["jsonData"]["httpHeaderName1"] == "Authorization"
    assert source["secureJsonData"]["httpHeaderValue1"].startswith("Token $__file{")


def test_the_contact_point_is_the_webhook_with_basic_auth() -> None:
    """Both halves: Grafana sends none unless it has both. It leaves no alert out."""
    (point,) = load("alerting/contact-points.yaml")["contactPoints"]
    (receiver,) = point["receivers"]

    assert set(receiver["settings"]) <= WEBHOOK_SETTINGS
    assert receiver["type"] == "webhook"
    assert receiver["disableResolveMessage"] is False
    assert receiver["settings"]["username"] == "alerts"
    assert receiver["settings"]["password"].startswith("$__file{")
    assert receiver["settings"]["maxAlerts"] == "0"
    # It signs as well, with the time: Grafana has no default for that header, and the webhook wants this one.
    # Its keys are those of grafana/alerting, receivers/util.go (HMACConfig); a nested secret is taken from a file, too.
    signed = receiver["settings"]["hmacConfig"]
    assert signed.keys() == {"secret", "header", "timestampHeader"}
    assert signed["secret"] == "$__file{/secrets/grafana/hmac_key}"
    assert signed["header"] in HEADERS
    assert signed["timestampHeader"] == AccessSettings.hmac_timestamp_header
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", one) for one in (receiver["uid"], point["name"]))


def test_the_policy_sends_every_alert_at_once_and_again_before_its_claim_ends() -> None:
    """The webhook ends an alert's claim after 5 min without a word; a failed POST comes again after group_interval."""
    (policy,) = load("alerting/policies.yaml")["policies"]
    receivers = {point["name"] for point in load("alerting/contact-points.yaml")["contactPoints"]}

    assert policy["group_by"] == ["..."]  # it must stand alone
    assert [policy[key] for key in ("group_wait", "group_interval", "repeat_interval")] == ["0s", "10s", "1m"]
    for route in (policy, *policy["routes"]):
        assert route["receiver"] in receivers
        assert seconds(route["group_interval"]) > 0  # Grafana refuses zero for these two
        assert seconds(route["repeat_interval"]) >= seconds(route["group_interval"])
    (broken,) = policy["routes"]
    ((label, operator, pattern),) = broken["object_matchers"]
    assert (label, operator) == ("alertname", "=~")
    assert all(re.fullmatch(pattern, name) for name in ("DatasourceNoData", "DatasourceError"))


def test_grafana_finds_the_dashboards_and_the_home_page() -> None:
    """Mounted where the provider looks."""
    (provider,) = load("dashboards/provider.yaml")["providers"]
    target = {volume.split(":")[1]: volume.split(":")[0] for volume in GRAFANA["volumes"]}

    source = ROOT / target[provider["options"]["path"]]
    home = Path(GRAFANA["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (source / home.relative_to(provider["options"]["path"])).is_file()


def test_the_least_interval_of_rules_is_one_that_grafana_accepts() -> None:
    """Its scheduler ticks every 10 s."""
    assert GRAFANA["environment"]["GF_UNIFIED_ALERTING_MIN_INTERVAL"] == "10s"


def test_the_secrets_that_grafana_reads_itself_are_files() -> None:
    """With two underscores: GF_X__FILE; no default password."""
    given = {key: value for key, value in GRAFANA["environment"].items() if key.startswith("GF_SECURITY_")}

    assert given["GF_SECURITY_ADMIN_PASSWORD__FILE"].startswith("/secrets/grafana/")
    assert given["GF_SECURITY_SECRET_KEY__FILE"].startswith("/secrets/grafana/")
    assert not {"GF_SECURITY_ADMIN_PASSWORD", "GF_SECURITY_SECRET_KEY"} & set(given)

"""The OpenAPI document is true: every route is in it, and answers are what it says."""

import copy
import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import webhook.api
from tests.support.broker import Client
from tests.support.processes import Child
from tests.support.wait import until
from tests.webhook.conftest import PASSWORDS
from webhook.api.app import make_app
from webhook.api.openapi import document
from webhook.api.operations import Operation

INFO = json.dumps({"fw": "test", "pins": {"red": {"safe": 0, "min": 0, "max": 1}, "green": {"safe": 0}}})


def declared() -> Iterator[Operation]:
    """Yield every operation of every module of webhook/api, without anything behind it."""
    for module in pkgutil.iter_modules(webhook.api.__path__):
        found = importlib.import_module(f"webhook.api.{module.name}")
        for name, make in inspect.getmembers(found, inspect.isfunction):
            if name.endswith("_operations") and make.__module__ == found.__name__:
                nothing: list[Any] = [() for _ in inspect.signature(make).parameters]
                yield from make(*nothing)


def methods(described: dict[str, Any]) -> set[tuple[str, str]]:
    """Return (method, path) of what a document describes."""
    return {(method.upper(), path) for path, found in described["paths"].items() for method in found}


def test_every_route_is_in_the_document():
    """Also one that somebody adds to Flask by another way than `api.operation`."""
    operations = list(declared())
    app = make_app(lambda *_: None, 1024, operations)
    routes = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    health = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
    assert methods(document(operations)) - health == routes
    assert len({one.name for one in operations}) == len(operations)
    for one in operations:
        assert one.summary.endswith("."), f"{one.name} needs a docstring: it is its summary in the document"


def closed(schema: Any) -> Any:
    """Return a schema in which an object has no other keys than those that are named."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if "properties" in made and isinstance(made["properties"], dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def test_answers_hold_what_the_document_says_and_nothing_else(webhook: Any, client: Client):
    """With every kind of thing there is to answer; the document is public and names every route."""
    for _ in range(2):
        webhook.alert("too-bright", "lights/red=1", summary="x")
    webhook.alert("gone", "lights/green=1")
    webhook.alert("gone", "lights/green=1", "resolved")
    webhook.alert("lost", "lights/green=1")
    webhook.alert("lost", "lights/green=1", "resolved", grafana_state_reason="MissingSeries")
    client.publish("pinloop/lights/status", "online", retain=True)
    client.publish("pinloop/lights/info", INFO, retain=True)
    until(lambda: webhook.call("GET", "/pins/lights/red")[0] == 200)
    seq = webhook.pin("lights", "red")["command"]["seq"]
    client.publish("pinloop/lights/pin/red/state", json.dumps({"v": 1, "seq": seq, "why": "command"}), retain=True)
    until(lambda: webhook.pin("lights", "red")["reported"])

    status, found = webhook.call("GET", "/openapi.json", user="")
    assert (status, found["openapi"]) == (200, "3.1.0")
    assert {(one.method, one.path) for one in declared()} <= methods(found)
    strict = closed(copy.deepcopy(found))
    asked = [
        *(("GET", path, None) for path in found["paths"] if path not in ("/metrics", "/openapi.json")),
        ("PUT", "/pins/{device}/{pin}", {"value": 1, "for": "1m"}),
        ("DELETE", "/pins/{device}/{pin}", None),
        ("POST", "/alert", {"version": "4", "alerts": [{"status": "firing", "startsAt": "2026-01-01T00:00:00Z"}]}),
    ]
    for method, path, body in asked:
        operation = strict["paths"][path].get(method.lower())
        if operation is None:
            continue
        user = "alerts" if path == "/alert" else "operator"
        status, answer = webhook.call(method, path.format(device="lights", pin="red"), body, user)
        schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
        check = jsonschema_rs.Draft202012Validator({**schema, "components": strict["components"]})
        assert [error.message for error in check.iter_errors(answer)] == [], (method, path)


# user -> what is left out of the checks. The device says which values a pin takes, so that a claim within the
# schema may be refused; and of alerts the webhook takes what it understands and ignores the rest.
_NOT_SO = {"operator": "positive_data_acceptance", "alerts": "negative_data_rejection"}


@pytest.mark.long
@pytest.mark.parametrize(("user", "which"), [("operator", "exclude"), ("alerts", "include")])
def test_schemathesis_finds_no_answer_outside_the_document(
    webhook: Any, client: Client, spawn: Callable[..., Child], tmp_path: Path, user: str, which: str
):
    """Made-up requests, valid and not, to every operation: statuses, content types, headers and schemas are as told."""
    client.publish("pinloop/lights/info", INFO, retain=True)
    until(lambda: webhook.call("GET", "/pins/lights/red")[0] == 200)
    command = [
        *(Path(sys.executable).with_name("st"), "run", f"http://127.0.0.1:{webhook.port}/openapi.json"),
        *("--checks", "all", "--exclude-checks", _NOT_SO[user], "--auth", f"{user}:{PASSWORDS[user]}"),
        *(f"--{which}-path", "/alert", "--max-examples", "20", "--phases", "examples,coverage,fuzzing"),
        *("--seed", "1", "--no-shrink", "--no-color"),
    ]
    run = spawn(command, name="schemathesis", env={"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)})
    assert run.wait(100) == 0, run.text()[-6000:]
    assert "Traceback" not in webhook.process.text()

"""The OpenAPI 3.1 document, made from the declared operations; GET /openapi.json shows it.

It is public: every installation's is the same, and programs ask for it
before they have credentials. What each operation answers is held to it by
tests/webhook/test_openapi.py.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from service.problems import MEDIA_TYPE
from service.usage import version
from webhook.access.scopes import ALERT
from webhook.access.signature import HEADERS
from webhook.api.operations import Operation, Operations

__all__ = ["document", "openapi_operations"]

_PARAMETERS: dict[str, dict[str, Any]] = {
    "device": {"description": "Device id.", "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"}},
    "pin": {"description": "Name of a pin.", "schema": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$"}},
}
_STATUSES = {
    400: "The body is not what it should be; `detail` names key, value and rule.",
    401: "Credentials are missing, wrong, too old, or used before.",
    403: "Others may do this.",
    404: "No such device or pin.",
    409: "A person holds it by slot `safety`.",
    413: "The body is too long, or holds too many alerts.",
    429: "Too many wrong credentials from this address.",
    503: "It cannot be said or done now; nothing was done.",
}
_HEADERS = {
    401: ("WWW-Authenticate", "How to say who asks; not to senders that sign wrong."),
    429: ("Retry-After", "Seconds to wait."),
}
_GUARDED = (401, 403, 429)
_PROBLEM: dict[str, Any] = {
    "title": "Problem details (RFC 9457)",
    "type": "object",
    "required": ["type", "title", "status", "detail", "reason"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "For people."},
        "reason": {"type": "string", "description": "One word for programs; metrics count by it."},
    },
}
_HEALTH: dict[str, Any] = {
    "title": "Health",
    "type": "object",
    "required": ["ok", "service", "version", "problems"],
    "properties": {
        "ok": {"type": "boolean"},
        "service": {"const": "webhook"},
        "version": {"type": "string"},
        "problems": {"type": "object", "additionalProperties": {"type": "string"}},
        "warnings": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_SECURITY_SCHEMES: dict[str, Any] = {
    "alerts": {"type": "http", "scheme": "basic", "description": "User `alerts`."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": HEADERS[0],
        "description": f"HMAC-SHA256 of `<seconds>:<body>`, lowercase hex; also taken as {HEADERS[1]}. The seconds "
        "since 1970 are in the header of the setting `hmac_timestamp_header`; `alert_auth` says what is needed.",
    },
    "operator": {"type": "http", "scheme": "basic", "description": "User `operator`."},
    "token": {"type": "http", "scheme": "bearer", "description": "A token of `pinloop token`, of this scope or above."},
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the document of `operations`, and of the three paths that every service has."""
    known = list(operations)
    types = [answer for answer in (one.answer for one in known) if not isinstance(answer, dict)]
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for one in known:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    for path, about, statuses in (
        ("/healthz", "Say that the process answers.", (200,)),
        ("/readyz", "Say whether all is well: 503 with what is not.", (200, 503)),
    ):
        answers = {str(status): _answer("Health.", {"$ref": "#/components/schemas/Health"}) for status in statuses}
        paths[path] = {"get": {"operationId": path[1:], "summary": about, "security": [], "responses": answers}}
    text = {"200": {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    paths["/metrics"] = {
        "get": {"operationId": "metrics", "summary": "Show what is counted.", "security": [], "responses": text}
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pinloop webhook",
            "version": version(),
            "summary": "Alerts in, claims on pins, commands out.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM, "Health": _HEALTH},
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def openapi_operations(others: Iterable[Operation]) -> Operations:
    """Return the route that shows the document of itself and of `others`."""
    api = Operations()

    @api.operation("GET", "/openapi.json", scope=None, answer={"type": "object"})
    def get_openapi() -> dict[str, Any]:
        """Show this document."""
        return made()

    @cache
    def made() -> dict[str, Any]:
        return document([*others, *api])

    return api


def _operation(one: Operation) -> dict[str, Any]:
    schema = one.answer if isinstance(one.answer, dict) else {"$ref": f"#/components/schemas/{one.answer.__name__}"}
    responses = {"200": _answer("Done.", schema)}
    for status in sorted({*one.refuses, *(_GUARDED if one.scope else ())}):
        responses[str(status)] = _refusal(status)
    described: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "security": _security(one.scope),
        "responses": responses,
    }
    names = re.findall(r"\{(\w+)\}", one.path)
    parameters = [{"name": name, "in": "path", "required": True, **_PARAMETERS[name]} for name in names]
    parameters += [{"name": name, "in": "query", "required": False, **about} for name, about in one.query.items()]
    if parameters:
        described["parameters"] = parameters
    if one.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": one.body}}}
    return described


def _security(scope: str | None) -> list[dict[str, list[str]]]:
    if scope is None:
        return []
    if scope == ALERT:
        return [{"alerts": []}, {"signature": []}, {"alerts": [], "signature": []}]
    return [{"operator": []}, {"token": [scope]}]


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refusal(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": _STATUSES[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in _HEADERS:
        name, about = _HEADERS[status]
        found["headers"] = {name: {"description": about, "schema": {"type": "string"}}}
    return found

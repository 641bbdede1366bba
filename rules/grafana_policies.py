"""Contact points and notification policies in Grafana's provisioning: what Grafana would refuse or ignore.

Pure. Sources: Grafana 13, pkg/services/provisioning/alerting (contact_point_types.go, notification_policy_types.go);
grafana/alerting, definitions/route and receivers/webhook.
"""

import re
from collections.abc import Sequence

from rules import grafana_values as values
from rules.grafana_rules import Known, items
from service.block import Block, Problems, one_of
from service.document import Node

__all__ = ["contact_points", "policies"]

_RECEIVER_KEYS = ("uid", "type", "settings", "disableResolveMessage")
_WEBHOOK_KEYS = (
    "url", "httpMethod", "username", "password", "authorization_scheme", "authorization_credentials", "maxAlerts",
    "title", "message", "headers", "payload", "hmacConfig", "tlsConfig", "http_config",
)  # fmt: skip
_ROUTE_KEYS = (
    "receiver", "group_by", "group_wait", "group_interval", "repeat_interval", "routes", "matchers", "object_matchers",
    "continue", "mute_time_intervals", "active_time_intervals",
)  # fmt: skip
_ALL = "..."
_OPERATORS = ("=", "!=", "=~", "!~")


def contact_points(problems: Problems, nodes: Sequence[Node]) -> set[str]:
    """Check contact points; return their names."""
    names: set[str] = set()
    uids: set[str] = set()
    for node in nodes:
        point = Block(problems, node, "a contact point", ("orgId", "name", "receivers"))
        if name := point.required("name", values.filled):
            names.add(name)
        for element in items(point, "receivers"):
            receiver = Block(problems, element, "a receiver", _RECEIVER_KEYS, "receivers.")
            uid = receiver.required("uid", values.uid)
            if uid in uids:
                receiver.add("uid", f"'{uid}' is used twice")
            uids |= {uid} if uid else set()
            kind = receiver.required("type", values.filled)
            receiver.optional("disableResolveMessage", values.flag)
            if "settings" not in receiver or not receiver["settings"].value:
                receiver.add("settings", "are missing")
            elif kind == "webhook":
                _webhook(Block(problems, receiver["settings"], "a webhook's settings", _WEBHOOK_KEYS, "settings."))
    return names


def _webhook(settings: Block) -> None:
    settings.required("url", values.filled)
    settings.optional("httpMethod", one_of(("POST", "PUT")))
    settings.optional("maxAlerts", values.whole)
    if ("username" in settings) != ("password" in settings):
        settings.add("password", "and username belong together: with one alone Grafana signs in with neither")
    if "username" in settings and "authorization_credentials" in settings:
        settings.add("authorization_credentials", "cannot stand beside username and password")


def policies(problems: Problems, nodes: Sequence[Node], known: Known) -> None:
    """Check trees of notification policies, one for each organization."""
    seen: set[int] = set()
    for node in nodes:
        tree = Block(problems, node, "a notification policy", ("orgId", *_ROUTE_KEYS))
        org = tree.optional("orgId", values.whole) or 1
        if org in seen:
            tree.add("orgId", f"{org} has a tree already: each replaces the one before")
        seen.add(org)
        tree.required("receiver", values.referring(known.receivers, "contact point"))
        for key in ("matchers", "object_matchers", "continue"):
            if key in tree:
                tree.add(key, "does not belong to the root of the tree, which takes every alert")
        _route(problems, tree, known)


def _route(problems: Problems, route: Block, known: Known) -> None:
    """Check what the root and every route below it have in common."""
    route.optional("group_wait", values.duration_s)
    route.optional("group_interval", values.group_interval_s)
    route.optional("repeat_interval", values.group_interval_s)
    labels = [str(one.value) for one in items(route, "group_by")]
    if _ALL in labels and len(labels) > 1:
        route.add("group_by", f"has '{_ALL}', every label, beside others: it must stand alone")
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        route.add("group_by", f"has '{label}' twice")
    for matcher in items(route, "object_matchers"):
        _matcher(problems, matcher)
    for node in items(route, "routes"):
        below = Block(problems, node, "a route", _ROUTE_KEYS, "routes.")
        below.optional("receiver", values.referring(known.receivers, "contact point"))
        _route(problems, below, known)


def _matcher(problems: Problems, node: Node) -> None:
    parts = [str(part.value) for part in node.value] if isinstance(node.value, list) else []
    if len(parts) != 3:
        problems.add(node.line, "object_matchers", "has an element that is not [label, operator, value]")
        return
    if parts[1] not in _OPERATORS:
        problems.add(node.line, "object_matchers", f"'{parts[1]}' is not one of {' '.join(_OPERATORS)}")
    elif "~" in parts[1]:
        try:
            re.compile(parts[2])
        except re.error as error:
            problems.add(node.line, "object_matchers", f"'{parts[2]}' is no regular expression ({error})")

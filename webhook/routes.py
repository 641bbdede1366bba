"""Routes: which pins an alert without the label `actuate` claims.

The one entry for what an alert asks for is `targets_of`. Pure.

Alertmanager's semantics for siblings: the routes are tried in order, the first
whose matchers all hold decides, unless it says `continue`; then the later ones
are tried too. Of several routes that name the same pin the first one counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from contract.errors import ContractError
from webhook.arbiter import ALERT, ALERT_SLOTS
from webhook.dialects import Notification
from webhook.routes_matchers import Matcher
from webhook.targets import Target, Template, parse_targets

__all__ = ["Route", "matching", "targets_of"]


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of routes.yml.

    Attributes:
        number: its place in the file, from 1.
        matchers: all of them must hold; none: every alert matches.
        targets: what the alert claims.
        slot: of its claims; "" leaves it to the alert's label `slot`.
        goes_on: the routes after it are tried too (`continue: true`).
    """

    number: int
    matchers: tuple[Matcher, ...]
    targets: tuple[Template, ...]
    slot: str = ""
    goes_on: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether all matchers hold."""
        return all(matcher.matches(labels) for matcher in self.matchers)

    def why_not(self, labels: Mapping[str, str]) -> str:
        """Say for people which matchers do not hold; "" when all do."""
        return "; ".join(filter(None, (matcher.why_not(labels) for matcher in self.matchers)))


def matching(routes: Sequence[Route], labels: Mapping[str, str]) -> Iterator[Route]:
    """Yield the routes that an alert with these labels takes, in order."""
    for route in routes:
        if route.matches(labels):
            yield route
            if not route.goes_on:
                return


def targets_of(notification: Notification, routes: Sequence[Route] = ()) -> tuple[list[Target], str]:
    """Return the targets and the slot that an alert asks for: by its label `actuate`, else by the routes.

    Raises:
        ContractError: it has neither the label nor a route, what comes out is outside the grammar, or the slot is none.
    """
    labels = notification.labels
    if labels.get("actuate"):
        return parse_targets(labels["actuate"]), _slot(labels)
    taken = list(matching(routes, labels))
    if not taken:
        rule = "is missing: the alert names no pins" + (", and no route matches it" if routes else "")
        raise ContractError("actuate", labels.get("actuate", ""), rule, "targets")
    found: dict[tuple[str, str], Target] = {}
    for route in taken:
        for template in route.targets:
            target = template.fill(labels, f"routes[{route.number}].targets")
            found.setdefault((target.device, target.pin), target)
    return list(found.values()), next((route.slot for route in taken if route.slot), "") or _slot(labels)


def _slot(labels: Mapping[str, str]) -> str:
    slot = labels.get("slot", ALERT)
    if slot not in ALERT_SLOTS:
        raise ContractError("slot", slot, "is not one of " + ", ".join(ALERT_SLOTS), "slot")
    return slot

"""Operations: a route together with what the OpenAPI document says of it.

There is no other way to add a route: what is not declared here does not exist,
so the document cannot leave one out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Operation", "Operations"]

Handler = Callable[..., Any]


@dataclass(frozen=True)
class Operation:
    """A route.

    Attributes:
        method: in capitals.
        path: with {device} and {pin} where it varies.
        scope: who may (webhook.access.scopes); None: everybody.
        answer: type of the object that a 200 answers, from which its schema is made.
        handler: takes the path's parameters; returns that object. Its docstring is the summary.
        body: type of the request's body, or its JSON schema; None for no body.
        query: parameter -> what the document says of it; none of them is required.
        refuses: statuses of 400 and above that it may answer, besides those that every route may.
        direct: its handler takes the request's body instead, and is reached without Flask (webhook.api.front).
    """

    method: str
    path: str
    scope: str | None
    answer: Any
    handler: Handler
    body: Any = None
    refuses: tuple[int, ...] = ()
    query: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    direct: bool = False

    @property
    def name(self) -> str:
        """The endpoint's name, unique."""
        return self.handler.__name__

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (self.handler.__doc__ or "").strip().partition("\n")[0]


@dataclass
class Operations:
    """The routes of one subject, in the order in which they were declared."""

    declared: list[Operation] = field(default_factory=list)

    def operation(
        self,
        method: str,
        path: str,
        *,
        scope: str | None,
        answer: Any,
        body: Any = None,
        refuses: tuple[int, ...] = (),
        query: Mapping[str, dict[str, Any]] | None = None,
        direct: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Declare the decorated function as the handler of a route; see Operation."""

        def declare(handler: Handler) -> Handler:
            self.declared.append(Operation(method, path, scope, answer, handler, body, refuses, query or {}, direct))
            return handler

        return declare

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.declared)

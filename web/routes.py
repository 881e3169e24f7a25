"""The table of routes: what is served, to whom, and how it is described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from web.access import Scope
from web.problems import Handler


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A way in which a route answers: a model of its JSON, or another content type, or no body."""

    description: str
    model: type[BaseModel] | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Route:
    """``scope`` absent: the handler itself decides who may call. ``problems`` are the statuses beside those that
    access brings."""

    method: str
    path: str
    handler: Handler
    summary: str
    scope: Scope | None = None
    free_on_loopback: bool = False
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers that are looked at, each with what it does."""
    answers: Mapping[int, Answer]
    problems: tuple[int, ...] = ()

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it: without patterns."""
        return self.path.replace(":.+}", "}")

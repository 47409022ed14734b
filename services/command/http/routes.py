"""Everything the command service serves, by path and method."""

from collections import defaultdict
from collections.abc import Awaitable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute, Router
from starlette.routing import Route as Path
from starlette.types import ASGIApp, Receive, Scope, Send

from services.command.http import published
from services.command.http.commands import COMMANDS
from services.command.http.endpoint import CommandEndpoint, outcome_counter
from services.command.http.keys import PersonalDataKeys
from services.command.store.event_store import EventStore
from shared.api_docs import docs_routes
from shared.auth import Authenticator
from shared.problems import METHOD_NOT_ALLOWED, NOT_FOUND, Problem
from shared.telemetry import name_route


class Methods:
    """One path, one handler per method. HEAD is served wherever GET is."""

    def __init__(self, handlers: Mapping[str, ASGIApp]) -> None:
        self._handlers: Final = dict(handlers)
        if "GET" in self._handlers:
            self._handlers["HEAD"] = self._handlers["GET"]
        self._allow: Final = ", ".join(sorted(self._handlers))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        handler = self._handlers.get(scope["method"])
        if handler is None:
            allow = [(b"allow", self._allow.encode())]
            raise Problem(METHOD_NOT_ALLOWED, f"Allowed methods: {self._allow}.", headers=allow)
        return handler(scope, receive, send)


class FixedPaths:
    """Serves paths without parameters after one lookup; `router`, which tries each route, serves the rest."""

    def __init__(self, handlers: Mapping[str, ASGIApp], router: ASGIApp) -> None:
        self._handlers = handlers
        self._router = router

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope["path"]
        handler = self._handlers.get(path) if scope["type"] == "http" else None
        if handler is None:
            return self._router(scope, receive, send)
        name_route(scope, path)
        scope["path_params"] = {}
        return handler(scope, receive, send)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise Problem(NOT_FOUND, "There is no such page.")


def routes(store: EventStore, authenticator: Authenticator, registry: CollectorRegistry) -> ASGIApp:
    """The router; errors that callers should see are raised as `Problem`."""
    outcomes = outcome_counter(registry)
    by_path: dict[str, dict[str, ASGIApp]] = defaultdict(dict)
    for route in COMMANDS:
        by_path[route.path][route.method] = CommandEndpoint(route, store, authenticator, outcomes)
    by_path["/personal-data-keys"]["POST"] = PersonalDataKeys(store, authenticator)
    by_path["/"]["GET"] = published.index
    by_path["/openapi.json"]["GET"] = published.openapi
    by_path["/asyncapi.json"]["GET"] = published.asyncapi
    by_path["/docs/topics"]["GET"] = published.topics_page
    by_path["/schemas/{type}/{version}"]["GET"] = published.event_schema
    served = {path: Methods(handlers) for path, handlers in by_path.items()}
    patterns: list[BaseRoute] = [Path(path, methods) for path, methods in served.items() if "{" in path]
    patterns += docs_routes("Orders: commands")
    router = Router(patterns, redirect_slashes=False, default=_nothing)
    return FixedPaths({path: methods for path, methods in served.items() if "{" not in path}, router)

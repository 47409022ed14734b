"""Serves a query over HTTP: authenticates the caller, runs the query and sends its result."""

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from services.query.documents.errors import DocumentsUnavailableError
from services.query.http.answering import Lag, Reading, Representation, answer, representation, with_lag
from services.query.http.parameters import Parameters
from services.query.http.waiting import ClientGoneError
from shared.auth import Authenticator, Principal, valid_id
from shared.problems import Problem, require_reading, unavailable

_NOTHING: Final = ""
"""The id of no document."""


class QueryRequest:
    """A request for a representation. `waited` is the `Prefer: wait` that was honoured."""

    def __init__(self, caller: Principal, scope: Scope, receive: Receive, reading: Reading) -> None:
        self.caller = caller
        self.scope = scope
        self.receive = receive
        self.waited: float | None = None
        self._reading = reading
        self.lag: Lag = reading()
        """The lag of what is read after the last `begin_reading`, initially after creation."""

    def begin_reading(self) -> None:
        """Nothing read so far goes into the response."""
        self.lag = self._reading()

    @cached_property
    def parameters(self) -> Parameters:
        """The query's parameters; parsed after authorization, since a 403 takes precedence over a 400."""
        return Parameters(self.scope)

    def identifier(self, name: str) -> str:
        """The id in the path; one that no document can have never reaches the store."""
        given: str = self.scope["path_params"][name]
        return given if valid_id(given) else _NOTHING


Query = Callable[[QueryRequest], Awaitable[dict[str, Any] | Representation]]
"""Returns the result as plain JSON values or ready to send, or raises a `Problem`."""


class QueryEndpoint:
    """Serves GET and HEAD on one route."""

    def __init__(self, query: Query, authenticator: Authenticator, reading: Reading) -> None:
        self._query = query
        self._authenticator = authenticator
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        require_reading(scope)
        caller = await self._authenticator.authenticate(scope)
        request = QueryRequest(caller, scope, receive, self._reading)
        try:
            found = await self._query(request)
        except DocumentsUnavailableError:
            raise with_lag(unavailable("The documents are unavailable."), self._reading()) from None
        except Problem as problem:
            if problem.kind.status == 404:
                with_lag(problem, request.lag)
            elif problem.kind.status == 503:  # it describes no document, and may come after a long wait
                with_lag(problem, self._reading())
            raise
        except ClientGoneError:
            return
        if isinstance(found, dict):
            found = representation(found)
        await answer(scope, send, found, request.lag, request.waited)

"""Which pages of other origins may ask what. https://fetch.spec.whatwg.org/#http-cors-protocol"""

from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.problems import Kind, Problem

NOT_ALLOWED: Final = Kind(400, "cors-not-allowed", "Pages of this origin may not ask so")


class AllowedOrigins(CORSMiddleware):
    """Starlette's middleware, but a preflight that is refused is a `Problem`, as everything else."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser is told before it asks; a 400 when the page may not."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        headers = [header for header in response.raw_headers if not header[0].startswith(b"content-")]
        return _Refusal(Problem(NOT_ALLOWED, f"{bytes(response.body).decode()}.", headers=headers))


class _Refusal(Response):
    """A problem where Starlette wants one of its own answers."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._problem.respond(scope, send)

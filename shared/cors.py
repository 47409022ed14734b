"""Which requests pages of other origins may make. https://fetch.spec.whatwg.org/#http-cors-protocol"""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.problems import Kind, Problem


def _comma_list(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part for part in (item.strip().rstrip("/") for item in value.split(",")) if part)


Origin = Annotated[str, Field(pattern=r"^(\*|https?://[^/\s,]+)$")]
Origins = Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_comma_list)]
"""The setting CORS_ORIGINS: separated by commas; `*` for all."""

NOT_ALLOWED: Final = Kind(400, "cors-not-allowed", "Cross-origin request not allowed")


class AllowedOrigins(CORSMiddleware):
    """Starlette's middleware, but a refused preflight is a `Problem`, like every other error."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The response to a preflight; a 400 if the page may not make the request."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        headers = [header for header in response.raw_headers if not header[0].startswith(b"content-")]
        return _Refusal(Problem(NOT_ALLOWED, f"{bytes(response.body).decode()}.", headers=headers))


class _Refusal(Response):
    """A problem where Starlette expects one of its own responses."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._problem.respond(scope, send)

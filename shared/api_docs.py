"""`/docs`: an API's OpenAPI document as a page. Its assets come from a pinned wheel, so it works offline."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.problems import NOT_FOUND, Problem, require_reading

_VENDOR: Final = files("swagger_ui_bundle") / "vendor"
_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; connect-src *; "
    "frame-ancestors 'none'"
)
_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css"></head>
<body><div id="page"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script></body>
</html>
"""
_START: Final = 'SwaggerUIBundle({ url: "/openapi.json", dom_id: "#page", deepLinking: true });\n'


class _Reading:
    """Passes GET and HEAD on to `app`; errors become a `Problem`, as everywhere else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # a `Mount` takes WebSockets, too
            raise Problem(NOT_FOUND, "There is no such page.")
        require_reading(scope)
        try:
            await self._app(scope, receive, send)
        except HTTPException:
            raise Problem(NOT_FOUND, "There is no such page.") from None


def docs_routes(title: str) -> Sequence[BaseRoute]:
    """The routes of the page, its script and its assets; the document itself is at `/openapi.json`."""
    (bundle,) = (str(folder) for folder in _VENDOR.iterdir() if folder.name.startswith("swagger-ui-"))
    headers = {"content-security-policy": _POLICY}
    page = HTMLResponse(_PAGE.format(title=title), headers=headers)
    start = HTMLResponse(_START, media_type="text/javascript")
    return [
        Route("/docs", _Reading(page)),
        Route("/docs/start.js", _Reading(start)),
        Mount("/docs/assets", _Reading(StaticFiles(directory=bundle))),
    ]

"""What is published about the topics: a JSON Schema per event type and version, and the AsyncAPI document.

Both are files next to this one, generated from the code's own types and committed:
`python -m shared.events.generate` and `python -m services.command.asyncapi`.
"""

import re
from functools import cache
from pathlib import Path
from typing import Final

SCHEMAS: Final = Path(__file__).parent / "events" / "schemas"
SUPERSEDED: Final = SCHEMAS / "superseded"
"""Earlier schemas of the same versions, as `<type>.<version>.<revision>.json`."""
ASYNCAPI: Final = Path(__file__).parent / "asyncapi.json"
ASYNCAPI_PAGE: Final = ASYNCAPI.with_suffix(".html")
"""The document rendered as one page, by `npm --prefix deploy/contracts run page`."""

_COMMITTED_REF: Final = re.compile(rb'"\./events/schemas/([A-Za-z]+)\.([0-9]+)\.json"')


def schema_name(event_type: str, version: int) -> str:
    """The file name of an event's schema."""
    return f"{event_type}.{version}.json"


@cache
def _schemas() -> dict[tuple[str, int], bytes]:
    found = {}
    for path in SCHEMAS.glob("*.json"):
        event_type, version = path.stem.split(".")
        found[event_type, int(version)] = path.read_bytes()
    return found


def schema(event_type: str, version: int) -> bytes | None:
    """The JSON Schema (draft 07) of an event's data, or None if there never was such an event."""
    return _schemas().get((event_type, version))


@cache
def asyncapi_document() -> bytes:
    """The AsyncAPI 3 document as served at `/asyncapi.json`: it refers to `/schemas/<type>/<version>`."""
    return _COMMITTED_REF.sub(rb'"./schemas/\1/\2"', ASYNCAPI.read_bytes())


@cache
def asyncapi_page() -> bytes:
    """The AsyncAPI document as a self-contained page."""
    return ASYNCAPI_PAGE.read_bytes()

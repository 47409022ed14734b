"""Sends responses from a read model: validators, compression, freshness."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson
from starlette.types import Scope, Send

from shared.problems import Problem

_WORTH_COMPRESSING: Final = 1400
"""Below about one packet compression saves nothing."""
_LEVEL: Final = 5
_CACHE: Final = (b"cache-control", b"private, no-cache")
_VARY: Final = (b"vary", b"Authorization, Accept-Encoding")
_JSON: Final = (b"content-type", b"application/json")
_LAG: Final = b"x-read-model-lag-ms"
_GZIPPED: Final = b'-gzip"'

Lag = Callable[[], int]
"""How many milliseconds the documents may be behind, now."""
Reading = Callable[[], Lag]
"""Called before documents are read; the `Lag` it returns is that of these documents."""


@dataclass(frozen=True, slots=True)
class Representation:
    """A JSON document as bytes, and its validator."""

    body: bytes
    etag: bytes


def representation(document: Mapping[str, Any]) -> Representation:
    """The document as it is sent."""
    body = orjson.dumps(document)
    return Representation(body, b'"%s"' % blake2b(body, digest_size=12).hexdigest().encode())


def lag_header(lag: Lag) -> tuple[bytes, bytes]:
    """The header with the freshness of what was read."""
    return _LAG, b"%d" % lag()


def with_lag(problem: Problem, lag: Lag) -> Problem:
    """The problem with the headers of a response from a read model."""
    problem.headers = [*problem.headers, lag_header(lag), (b"cache-control", b"private, no-store")]
    return problem


async def answer(
    scope: Scope, send: Send, found: Representation, lag: Lag, waited: float | None = None
) -> None:
    """Send a representation, or a 304 if the caller already has it."""
    body, etag = found.body, found.etag
    known, compress = _conditions(scope)
    compress = compress and len(body) >= _WORTH_COMPRESSING
    # another coding is another representation, so its strong validator must differ; a 304 carries it too
    validator = etag[:-1] + _GZIPPED if compress else etag
    headers = [(b"etag", validator), _CACHE, _VARY, lag_header(lag)]
    if waited is not None:
        headers.append((b"preference-applied", b"wait=%d" % waited))
    if known is not None and _matches(known, etag):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    if compress:
        body = gzip.compress(body, _LEVEL, mtime=0)
        headers.append((b"content-encoding", b"gzip"))
    headers += (_JSON, (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _conditions(scope: Scope) -> tuple[bytes | None, bool]:
    known = None
    compress = False
    for name, value in scope["headers"]:
        if name == b"if-none-match":
            known = value if known is None else known + b"," + value
        elif name == b"accept-encoding":
            compress = compress or accepts_gzip(value)
    return known, compress


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether the header accepts gzip (RFC 9110, 12.5.3); `gzip;q=0` does not."""
    allowed: dict[bytes, bool] = {}
    for part in accept_encoding.lower().split(b","):
        coding, _, weight = part.partition(b";")
        allowed[coding.strip()] = weight.replace(b" ", b"").strip(b"0.") != b"q="
    return allowed.get(b"gzip", allowed.get(b"*", False))


def _matches(known: bytes, etag: bytes) -> bool:
    if known.strip() == b"*":
        return True
    for tag in known.split(b","):
        plain = tag.strip().removeprefix(b"W/")
        if plain.endswith(_GZIPPED):
            plain = plain[: -len(_GZIPPED)] + b'"'
        if plain == etag:
            return True
    return False

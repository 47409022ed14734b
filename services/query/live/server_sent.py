"""`GET /orders/stream`: server-sent events. https://html.spec.whatwg.org/multipage/server-sent-events.html"""

import asyncio
from contextlib import aclosing, suppress
from typing import Final

import orjson
from starlette.types import Receive, Scope, Send

from services.query.documents.errors import DocumentsUnavailableError
from services.query.http.answering import Lag, lag_header, with_lag
from services.query.live.filters import filters_of
from services.query.live.lifetime import Over, lasting
from services.query.live.parts import Beginning, sent
from services.query.live.streams import LiveStream, LiveStreams
from shared.auth import Authenticator
from shared.problems import require_reading, unavailable

_HEARTBEAT: Final = b": heartbeat\n\n"
_LAST_WORDS_SECONDS: Final = 1.0
_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"private, no-store"),
    (b"vary", b"Authorization"),
    (b"x-accel-buffering", b"no"),
]


class ServerSentEvents:
    """Streams the messages of all matching orders to one reader until either side ends."""

    def __init__(self, streams: LiveStreams, authenticator: Authenticator, lag: Lag) -> None:
        self._streams = streams
        self._authenticator = authenticator
        self._lag = lag

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        require_reading(scope)
        caller = await self._authenticator.authenticate(scope)
        filters, cursor = filters_of(caller, scope)
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [*_HEADERS, lag_header(self._lag)],
        }
        stream = self._streams.open(filters, _last_event_id(scope) or cursor)
        try:
            await stream.__aenter__()
        except DocumentsUnavailableError:
            raise with_lag(unavailable("Live updates are unavailable."), self._lag) from None
        try:
            await send(start)
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            over = await lasting(stream, caller, _send_all(stream, send), _until_gone(receive))
        finally:
            await stream.__aexit__(None, None, None)
        if over is not Over.READER_GONE:
            await _end(send)


async def _send_all(stream: LiveStream, send: Send) -> None:
    async with aclosing(stream.parts()) as parts:
        async for part in parts:
            if isinstance(part, Beginning):
                await _send(send, _beginning(part))
            elif not part:
                await _send(send, _HEARTBEAT)
            else:
                # one by one: all together they could be megabytes, kept in memory for each slow reader
                for message in part:
                    await _send(send, b"id: %s\ndata: %s\n\n" % (message.cursor.encode(), message.json))
                    sent([message])


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _beginning(part: Beginning) -> bytes:
    cursor = part.cursor
    if not part.reset:
        return f"id: {cursor}\n\n".encode()
    return f"id: {cursor}\ndata: ".encode() + orjson.dumps({"id": cursor, "type": "reset"}) + b"\n\n"


def _last_event_id(scope: Scope) -> str | None:
    found = None
    for name, value in scope["headers"]:
        if name == b"last-event-id":
            found = value.decode("latin-1")
    return found


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(send: Send) -> None:
    """End the response; if the reader no longer takes anything, the connection is just closed."""
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_LAST_WORDS_SECONDS):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

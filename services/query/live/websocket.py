"""`GET /ws`: the same messages over a WebSocket (RFC 6455)."""

import asyncio
from contextlib import aclosing, suppress
from typing import Final

import orjson
from starlette.types import Receive, Scope, Send

from services.query.documents.errors import DocumentsUnavailableError
from services.query.http.problems import UPGRADE_REQUIRED
from services.query.live.filters import filters_of
from services.query.live.lifetime import Over, lasting
from services.query.live.parts import Beginning, sent
from services.query.live.streams import LiveStream, LiveStreams
from shared.auth import Authenticator, Principal
from shared.problems import Problem, require_reading, unavailable

BEARER: Final = "bearer"
_CODES: Final = {
    Over.TOO_SLOW: (1013, "too slow"),
    Over.TOKEN_EXPIRED: (4401, "token expired"),
    Over.STORE_UNAVAILABLE: (1013, "try again later"),
    Over.STOPPING: (1012, "restarting"),
}
_LAST_WORDS_SECONDS: Final = 60.0
"""How long a slow reader may take to reach the close frame after what was sent to it."""


class WebSocketEndpoint:
    """Sends the messages of all matching orders to one reader until either side ends.

    What the reader sends is ignored.
    """

    def __init__(self, streams: LiveStreams, authenticator: Authenticator) -> None:
        self._streams = streams
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = await self._authenticate(scope)
        filters, cursor = filters_of(caller, scope)
        stream = self._streams.open(filters, cursor)
        try:
            await stream.__aenter__()
        except DocumentsUnavailableError:
            raise unavailable("Live updates are unavailable.") from None
        try:
            await receive()  # websocket.connect
            offered = BEARER in scope["subprotocols"]
            await send({"type": "websocket.accept", "subprotocol": BEARER if offered else None})
            over = await lasting(stream, caller, _send_all(stream, send), _until_gone(receive))
        finally:
            await stream.__aexit__(None, None, None)
        if over is not Over.READER_GONE:
            await _close(send, *_CODES[over])

    async def _authenticate(self, scope: Scope) -> Principal:
        match scope["subprotocols"]:
            case [scheme, token] if scheme == BEARER and not _has_header(scope):
                return await self._authenticator.authenticate_token(token.encode())
            case _:
                return await self._authenticator.authenticate(scope)


class PlainRequests:
    """Answers plain HTTP requests at the WebSocket's path; these need a token too."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        require_reading(scope)
        await self._authenticator.authenticate(scope)
        # tells clients of another version which one is supported (RFC 6455, 4.4)
        headers = [
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
            (b"sec-websocket-version", b"13"),
        ]
        raise Problem(UPGRADE_REQUIRED, "Open a WebSocket here.", headers=headers)


def _has_header(scope: Scope) -> bool:
    return any(name == b"authorization" for name, _ in scope["headers"])


async def _send_all(stream: LiveStream, send: Send) -> None:
    async with aclosing(stream.parts()) as parts:
        async for part in parts:
            if isinstance(part, Beginning):
                begin = orjson.dumps({"id": part.cursor, "type": "reset" if part.reset else "ready"})
                await send({"type": "websocket.send", "text": begin.decode()})
            else:
                for message in part:
                    await send({"type": "websocket.send", "text": message.json.decode()})
                    sent([message])


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _close(send: Send, code: int, reason: str) -> None:
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_LAST_WORDS_SECONDS):
            await send({"type": "websocket.close", "code": code, "reason": reason})

"""One write to the socket per answer: uvicorn writes headers and body apart, a system call each."""

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_GATHERED: Final = 65_536
_LONGEST_STUCK_SECONDS = 30.0
"""A reader that takes nothing of the last words for this long is not waited for any more."""


class GatheringTransport:
    """Gathers what is written in one turn of the event loop; all else goes to the transport itself."""

    __slots__ = ("_loop", "_parts", "_size", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0
        self.is_closing = transport.is_closing  # asked at each answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data` at the end of this turn, or at once when much has been gathered."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > _MOST_GATHERED:
            self.flush()

    def flush(self) -> None:
        """Send what has been gathered."""
        parts = self._parts
        if parts:
            self._parts, self._size = [], 0
            if not self._transport.is_closing():
                self._transport.write(b"".join(parts))

    def close(self) -> None:
        """Close once everything is sent, or its reader takes nothing any more."""
        self.flush()
        self._transport.close()
        self._watch(self._transport.get_write_buffer_size())

    def _watch(self, unsent: int) -> None:
        if unsent:
            self._loop.call_later(_LONGEST_STUCK_SECONDS, self._abort_when_stuck, unsent)

    def _abort_when_stuck(self, before: int) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent < before:
            self._watch(unsent)
        else:
            self._transport.abort()


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on such a transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own hint
        """Begin a connection."""
        gathering = GatheringTransport(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", gathering))

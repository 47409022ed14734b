"""One write to the socket per response: uvicorn writes headers and body separately, a system call each."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_GATHERED: Final = 65_536
_LINGERING_SECONDS: Final = 10
_LONGEST_STUCK_SECONDS = 30.0
"""A reader that takes none of the remaining data for this long is disconnected."""


class _Deaf(asyncio.Protocol):
    """Discards what the other side of a connection still sends."""

    def __init__(self, before: asyncio.BaseProtocol) -> None:
        self._before = before

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the protocol that had the connection before."""
        self._before.connection_lost(exc)


class GatheringTransport:
    """Gathers what is written in one iteration of the event loop; all other calls go to the transport."""

    __slots__ = ("_is_sending", "_loop", "_parts", "_size", "_transport", "is_closing")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, is_sending: Callable[[], bool]
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._is_sending = is_sending
        self._parts: list[bytes] = []
        self._size = 0
        self.is_closing = transport.is_closing  # called for each response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data` at the end of this iteration, or immediately if much has been gathered."""
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
            if not self.is_closing():
                self._transport.write(b"".join(parts))

    def separate(self) -> None:
        """Let go of the protocol, which answers no more."""
        self._is_sending = _never

    def close(self) -> None:
        """Close once everything is sent or the reader is stuck; linger if a body is still being received."""
        if self._is_sending() and not self.is_closing():
            self.linger()
        else:
            self.flush()
            self._end()

    def linger(self) -> None:
        """Send what has been gathered and no more, and keep receiving for some seconds.

        Closing while the caller still sends would reset the connection and lose the response.
        """
        self.flush()
        if not self.is_closing():
            self.is_closing = lambda: True
            self._transport.set_protocol(_Deaf(self._transport.get_protocol()))
            self._transport.resume_reading()
            self._transport.write_eof()
            self._loop.call_later(_LINGERING_SECONDS, self._end)

    def _end(self) -> None:
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


def _never() -> bool:
    return False


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on a `GatheringTransport`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own hint
        """Start a connection."""
        gathering = GatheringTransport(transport, self.loop, self._is_body_answered_early)
        super().connection_made(cast("asyncio.Transport", gathering))

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        super().connection_lost(exc)
        self._let_go()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the protocol of WebSockets."""
        super().handle_websocket_upgrade()
        self._let_go()

    def _let_go(self) -> None:
        """Leave no cycle: it would keep the requests' heads and bodies until garbage is collected, rarely."""
        cast("GatheringTransport", self.transport).separate()
        self.parser = self.cycle = None  # type: ignore[assignment]
        self.pipeline.clear()

    def on_message_complete(self) -> None:
        """End a request. uvicorn does not record the end of its body if the response is already complete."""
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle.more_body = False

    def _is_body_answered_early(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete and self.cycle.more_body

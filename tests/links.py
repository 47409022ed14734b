"""A link to a server that can lose the server's answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Link:
    """Forwards connections. A client that sends the bytes in `lost_after` gets no more answers."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._open: set[asyncio.StreamWriter] = set()
        self.lost_after: bytes | None = None
        self.lost = asyncio.Event()
        """Set once an answer has been dropped."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until either side closes it."""
        try:
            there, back = await asyncio.open_connection(*self._server)
        except OSError:
            writer.close()
            return
        self._open |= {writer, back}
        mute = asyncio.Event()

        async def forth() -> None:
            while data := await reader.read(1 << 16):
                if self.lost_after is not None and self.lost_after in data:
                    mute.set()
                back.write(data)

        async def answers() -> None:
            while data := await there.read(1 << 16):
                if mute.is_set():
                    self.lost.set()
                else:
                    writer.write(data)

        ways = [asyncio.create_task(forth()), asyncio.create_task(answers())]
        try:
            with contextlib.suppress(OSError):
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, back):
                self._open.discard(end)
                end.close()

    def cut(self) -> None:
        """Close every connection; new ones work normally."""
        self.lost_after = None
        for end in self._open:
            end.transport.abort()


@asynccontextmanager
async def link_to(host: str, port: int) -> AsyncIterator[tuple[Link, int]]:
    """A link to a server, and the port it listens on."""
    link = Link(host, port)
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    try:
        yield link, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        link.cut()

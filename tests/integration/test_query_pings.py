"""A WebSocket's pings, seen by a client without a library that answers them."""

import asyncio
import secrets
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
import pytest
import pytest_asyncio
from websockets.frames import Close, Opcode

from services.query.app import SOCKETS
from tests.query_service import STAFF, System, order_document, order_id, query_system
from tests.servers import eventually

pytestmark = pytest.mark.integration

INTERVAL: Final = 0.5
PATIENCE: Final = 2.0
"""Seconds without an answer, enough for a slow machine."""
_UNMASKED: Final = bytes(4)


class Socket:
    """An open WebSocket (RFC 6455, 5.2) that answers nothing automatically."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def next(self, seconds: float = 10) -> tuple[Opcode, bytes]:
        """The next frame."""
        async with asyncio.timeout(seconds):
            first, length = await self._reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self._reader.readexactly(2), "big")
            return Opcode(first & 0x0F), await self._reader.readexactly(length)

    def answer(self, ping: bytes) -> None:
        """Send a pong, masked as a client's frames are."""
        self._writer.write(bytes([0x80 | Opcode.PONG, 0x80 | len(ping)]) + _UNMASKED + ping)

    async def pings(self, count: int) -> None:
        """Answer the given number of pings; no other frame may arrive."""
        for _ in range(count):
            opcode, ping = await self.next()
            assert opcode is Opcode.PING
            self.answer(ping)

    async def has_ended(self) -> bool:
        """Whether the connection has ended."""
        async with asyncio.timeout(10):
            return await self._reader.read() == b""


@asynccontextmanager
async def socket(url: str) -> AsyncIterator[Socket]:
    """A WebSocket of staff that has received its first message."""
    address = httpx.URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    headers = STAFF | {
        "Host": address.netloc.decode(),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": b64encode(secrets.token_bytes(16)).decode(),
    }
    lines = ["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    try:
        writer.write("\r\n".join(lines).encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        opened = Socket(reader, writer)
        opcode, begin = await opened.next()
        assert (opcode, b'"ready"' in begin) == (Opcode.TEXT, True)
        yield opened
    finally:
        writer.close()
        await writer.wait_closed()


@pytest_asyncio.fixture
async def system(
    mongodb_url: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[System]:
    """A service that pings more often, with a shorter timeout."""
    assert SOCKETS["ws_ping_interval"] <= 30, (
        "intermediaries often close connections that are silent for longer"
    )
    monkeypatch.setitem(SOCKETS, "ws_ping_interval", INTERVAL)
    monkeypatch.setitem(SOCKETS, "ws_ping_timeout", PATIENCE)
    async with query_system(mongodb_url, mongodb_database) as running:
        yield running


async def test_a_silent_socket_is_pinged_repeatedly(system: System) -> None:
    async with socket(system.url) as opened:
        began = time.monotonic()
        await opened.pings(3)
        assert INTERVAL * 2 < time.monotonic() - began < (INTERVAL + PATIENCE) * 3


async def test_an_unanswered_ping_closes_only_its_own_socket(system: System) -> None:
    async def open_streams() -> int:
        return int(await system.metric("query_live_streams"))

    async with socket(system.url) as deaf, socket(system.url) as hearing:
        assert await open_streams() == 2
        answering = asyncio.create_task(hearing.pings(100))
        assert (await deaf.next())[0] is Opcode.PING
        opcode, reason = await deaf.next()
        assert (opcode, Close.parse(reason).code) == (Opcode.CLOSE, 1011)
        assert await deaf.has_ended()

        async def one_is_left() -> bool:
            return await open_streams() == 1

        await eventually(one_is_left, "the stream has ended too")
        answering.cancel()
        await asyncio.wait([answering])
        assert answering.cancelled()
        await system.store.put_order(order_document(1))
        while (frame := await hearing.next())[0] is Opcode.PING:
            hearing.answer(frame[1])
        assert order_id(1).encode() in frame[1]

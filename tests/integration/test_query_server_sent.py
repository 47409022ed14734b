"""Server-sent events: who gets which messages, from which position, and for how long."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

import httpx
import pytest
import pytest_asyncio

from services.query.live import hub as live_hub
from services.query.live.subscription import MOST_WHILE_STUCK
from shared.documents import FEED, version_id
from tests.query_service import (
    STAFF,
    Document,
    System,
    authorization,
    order_document,
    order_id,
    query_system,
    serving,
    shipped,
)
from tests.servers import eventually

pytestmark = pytest.mark.integration

ADA: Final = authorization("ada")
ONE, TWO, THREE = order_id(1), order_id(2), order_id(3)


class Block(NamedTuple):
    """The text between two empty lines. Without data it is a beginning, without an id a comment."""

    id: str | None
    data: Any = None


class Stream:
    """An open stream, read block by block."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self) -> Block:
        """The next block, which must contain only fields that the contract names."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            while line := await anext(self._lines):
                name, _, value = line.partition(":")
                assert name not in fields
                fields[name] = value.strip()
        assert set(fields) in ({"id"}, {"id", "data"}, {""}), fields
        return Block(fields.get("id"), json.loads(fields["data"]) if "data" in fields else None)

    async def messages(self, count: int) -> list[Block]:
        """The next messages; there may be comments between them."""
        messages: list[Block] = []
        while len(messages) < count:
            block = await self.next()
            if block.id is not None:
                assert block.data["id"] == block.id
                messages.append(block)
        return messages

    async def rest(self) -> list[Block]:
        """All messages until the stream ends in any way."""
        messages: list[Block] = []
        with suppress(StopAsyncIteration, httpx.RemoteProtocolError):
            while True:
                messages += await self.messages(1)
        return messages

    async def nothing_more(self) -> bool:
        """Whether the next two blocks are comments; any pending message would precede the second."""
        return all([(await self.next()).id is None for _ in range(2)])


def orders_of(blocks: list[Block]) -> list[tuple[str, int]]:
    """The orders and versions of messages."""
    return [(block.data["order"]["id"], block.data["order"]["version"]) for block in blocks]


@asynccontextmanager
async def listening(
    url: str, caller: dict[str, str], query: str = "", *, kept: int | None = None
) -> AsyncIterator[tuple[str, Stream]]:
    """A stream and its initial cursor. `kept` limits the bytes buffered for a client that does not read."""
    options = [] if kept is None else [(socket.SOL_SOCKET, socket.SO_RCVBUF, kept)]
    transport = httpx.AsyncHTTPTransport(socket_options=options)
    async with (
        httpx.AsyncClient(base_url=url, timeout=30, transport=transport) as client,
        client.stream("GET", f"/orders/stream?{query}", headers=caller) as response,
    ):
        assert response.status_code == 200
        stream = Stream(response)
        begin = await stream.next()
        assert begin.id is not None
        assert begin.data is None
        yield begin.id, stream


@pytest_asyncio.fixture
async def system(
    mongodb_url: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[System]:
    """A service with more frequent heartbeats."""
    monkeypatch.setattr(live_hub, "_BEAT_SECONDS", 0.2)
    async with query_system(mongodb_url, mongodb_database) as running:
        yield running


@pytest.mark.parametrize(
    ("caller", "query", "expected"),
    [
        (STAFF, "", [(ONE, 1), (TWO, 1), (THREE, 1), (ONE, 2), (TWO, 2)]),
        (STAFF, f"orderId={TWO}", [(TWO, 1), (TWO, 2)]),
        (STAFF, "customerId=ada", [(ONE, 1), (THREE, 1), (ONE, 2)]),
        (STAFF, "status=pending", [(ONE, 1), (TWO, 1), (THREE, 1)]),
        (STAFF, "status=shipped&customerId=bob", [(TWO, 2)]),
        (STAFF, f"orderId={ONE}&status=shipped&customerId=ada", [(ONE, 2)]),
        (STAFF, f"orderId={ONE}&customerId=bob", []),
        (STAFF, "status=cancelled", []),
        (ADA, "", [(ONE, 1), (THREE, 1), (ONE, 2)]),
        (ADA, "customerId=ada&status=shipped", [(ONE, 2)]),
        (ADA, f"orderId={ONE}", [(ONE, 1), (ONE, 2)]),
        (ADA, "customerId=bob", []),
        (ADA, f"orderId={TWO}", []),
        (ADA, f"orderId={TWO}&customerId=bob", []),
    ],
)
async def test_a_stream_applies_its_filters_and_never_shows_orders_of_others(
    system: System, caller: dict[str, str], query: str, expected: list[tuple[str, int]]
) -> None:
    first, second, third = order_document(1, "ada"), order_document(2, "bob"), order_document(3, "ada")
    events = [first, second, third, shipped(first), shipped(second)]
    async with (
        listening(system.url, STAFF) as (begin, everything),
        listening(system.url, caller, query) as (_, stream),
    ):
        for order in events:
            await system.store.put_order(order)
        await everything.messages(len(events))
        assert orders_of(await stream.messages(len(expected))) == expected
        assert await stream.nothing_more()
    # the same applies to repeated messages
    async with listening(system.url, caller, f"{query}&cursor={begin}") as (again, stream):
        assert again == begin
        assert orders_of(await stream.messages(len(expected))) == expected
        assert await stream.nothing_more()


@pytest.mark.parametrize("restarted", [False, True], ids=["remembered", "after a restart"])
@pytest.mark.parametrize("how", ["cursor", "Last-Event-ID"])
async def test_a_stream_resumes_right_after_the_last_received_message(
    system: System, how: str, restarted: bool
) -> None:
    async with listening(system.url, ADA) as (begin, stream):
        for number in range(1, 8):
            await system.store.put_order(order_document(number, ("ada", "bob")[number % 2]))
        await system.store.put_order(shipped(order_document(4)))
        everything = await stream.messages(4)
    cursors = [begin, *(block.id for block in everything)]
    async with AsyncExitStack() as open_until_the_end:
        url = system.url
        if restarted:
            other = serving(system.mongodb_url, system.store.database.name)
            url = await open_until_the_end.enter_async_context(other)
            await eventually(lambda: followed(url), "the other service follows the feed")
        streams: list[Stream] = []
        for index, cursor in enumerate(cursors):
            caller, query = (ADA, f"cursor={cursor}") if how == "cursor" else (ADA | {how: str(cursor)}, "")
            begin, stream = await open_until_the_end.enter_async_context(listening(url, caller, query))
            assert begin == cursor
            assert await stream.messages(len(everything) - index) == everything[index:]
            streams.append(stream)
        await system.store.put_order(order_document(9))
        for stream in streams:
            assert orders_of(await stream.messages(1)) == [(order_id(9), 1)]


async def followed(url: str) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.head(f"{url}/orders/stream", headers=STAFF)).status_code == 200


def long_order(number: int) -> Document:
    """The feed's document about an order so long that few of them fit into a connection's buffer."""
    name = f"a product of a very long order, number {number}"
    items = [{"productId": "lamp", "productName": name, "quantity": 1, "price": 1}] * 100
    return {
        "_id": version_id(order_id(number), 1),
        "orderId": order_id(number),
        "customerId": "ada",
        "version": 1,
        "type": "OrderCreated",
        "traceparent": None,
        "order": order_document(number, items=items),
    }


async def test_a_slow_reader_is_cut_off_and_can_resume(system: System) -> None:
    async def open_streams() -> int:
        return int(await system.metric("query_live_streams"))

    written = 0
    # some machines buffer 30 MB by default, and a reader of less than that would not be slow
    async with (
        listening(system.url, STAFF, kept=65536) as (begin, slow),
        listening(system.url, STAFF) as (_, quick),
        asyncio.timeout(60),
    ):
        while await open_streams() > 1:
            batch = range(written, written + 100)
            await system.store.collection(FEED).insert_many([long_order(number) for number in batch])
            assert orders_of(await quick.messages(100)) == [(order_id(number), 1) for number in batch]
            written += 100
        assert written >= MOST_WHILE_STUCK
        taken = await slow.rest()
    last = taken[-1].id if taken else begin
    async with listening(system.url, STAFF, f"cursor={last}") as (_, again):
        missed = await again.messages(written - len(taken))
    assert missed
    assert orders_of(taken + missed) == [(order_id(number), 1) for number in range(written)]

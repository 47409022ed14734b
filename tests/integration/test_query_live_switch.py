"""Followers of the live generation's documents follow them through any switch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from services.query.arrivals import Arrivals
from services.query.documents.changes import Position
from services.query.documents.connecting import Connection
from services.query.documents.customers import Customers
from services.query.documents.errors import CannotResumeError
from services.query.documents.feed import Feed, NewsStream
from services.query.documents.generations import LiveGeneration, Pointer
from services.query.documents.names import Names
from services.query.live.cursors import position_of
from services.query.live.filters import Filters
from services.query.live.hub import Hub
from services.query.live.messages import Namer
from services.query.live.parts import Beginning
from services.query.live.streams import LiveStreams
from tests.query_service import Store, order_document
from tests.servers import eventually

pytestmark = pytest.mark.integration

EVERYTHING = Filters(owner=None, order_id=None, customer_id=None, status=None)


class StalePointer(LiveGeneration):
    """The result of a read from before the switch arrives right after the switch was announced."""

    def moved(self) -> None:
        before = self._known
        super().moved()
        self._known = before


class SwitchedAfterFirstRead(LiveGeneration):
    """The generation is switched right after the first read of the pointer."""

    def __init__(self, connection: Connection, store: Store) -> None:
        super().__init__(connection)
        self._store = store

    async def latest(self) -> Pointer:
        pointer = await super().latest()
        if self._store.generation == "1":
            await self._store.point_to("2")
        return pointer


class Forgetful(Feed):
    """The server no longer holds the position after which the hub would go on, once."""

    _forgot = False

    def all_news(self, live: Pointer, after: Position | None) -> NewsStream:
        if after is not None and not self._forgot:
            self._forgot = True
            raise CannotResumeError("too old")
        return super().all_news(live, after)


@asynccontextmanager
async def following(connection: Connection, live: LiveGeneration) -> AsyncIterator[Arrivals]:
    """A hub that follows the feed; yields the arrivals that it notifies."""
    arrivals = Arrivals()
    async with Customers(live) as customers, Hub(Feed(connection), live, arrivals, customers.names) as hub:
        await hub.begin(EVERYTHING)
        yield arrivals


async def test_a_stale_pointer_read_does_not_lose_changes(store: Store, connection: Connection) -> None:
    live = StalePointer(connection)
    async with following(connection, live) as arrivals, asyncio.timeout(10):
        await live.pointer()
        with arrivals.expecting("products", "lamp") as expected:
            await store.point_to("2")
            # the switch itself makes every waiting request check again
            await expected.changed.wait()
            expected.changed.clear()
            await store.put_product("lamp")
            await expected.changed.wait()


async def test_a_switch_before_the_first_news_is_noticed(store: Store, connection: Connection) -> None:
    live = SwitchedAfterFirstRead(connection, store)
    async with following(connection, live) as arrivals, asyncio.timeout(10):
        with arrivals.expecting("products", "lamp") as expected:
            await store.put_product("lamp")
            await expected.changed.wait()


async def test_names_are_those_of_the_generation_that_was_switched_to(
    store: Store, connection: Connection
) -> None:
    renamed = {"_id": "ada", "name": "Ada King", "email": None, "version": 2, "erased": False}
    await store.collection("customers__2").insert_one(renamed)
    await store.put_customer("ada", "Ada")
    live = LiveGeneration(connection)
    async with (
        Customers(live) as customers,
        Hub(Feed(connection), live, Arrivals(), customers.names) as hub,
    ):
        await hub.begin(EVERYTHING)
        assert await name_of("ada", customers.names) == "Ada"
        await store.point_to("2")

        async def follows() -> bool:
            return await name_of("ada", customers.names) == "Ada King"

        await eventually(follows, "the name is read again")


async def name_of(customer_id: str, names: Names) -> str | None:
    return (await names.of([customer_id]))[customer_id].name


async def test_a_stream_is_reset_when_messages_may_be_lost(
    store: Store, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.query.live.hub._REMEMBERED", 1)
    live, feed = LiveGeneration(connection), Forgetful(connection)
    async with (
        Customers(live) as customers,
        Hub(feed, live, Arrivals(), customers.names) as hub,
        LiveStreams(hub, feed, Namer(customers.names)).open(EVERYTHING, None) as stream,
        aclosing(stream.parts()) as parts,
        asyncio.timeout(20),
    ):
        begin = await anext(parts)
        assert isinstance(begin, Beginning)
        assert not begin.reset
        await store.put_order(order_document(1))
        part = await anext(parts)
        assert not isinstance(part, Beginning)
        before = position_of(part[0].cursor)

        await store.point_to("2")
        while not isinstance(part := await anext(parts), Beginning):
            assert not part
        assert part.reset
        await store.put_order(order_document(2))
        part = await anext(parts)
        assert not isinstance(part, Beginning)
        assert len(part) == 1
        # what was remembered before does not make it seem that nothing is missing
        assert before is not None
        assert hub.join(EVERYTHING, before) is None

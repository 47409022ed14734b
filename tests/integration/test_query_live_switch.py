"""Followers of the live generation's documents follow them through any switch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.query.arrivals import Arrivals
from services.query.documents.connecting import Connection
from services.query.documents.customers import Customers
from services.query.documents.feed import Feed
from services.query.documents.generations import LiveGeneration, Pointer
from services.query.live.filters import Filters
from services.query.live.hub import Hub
from tests.query_service import Store

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

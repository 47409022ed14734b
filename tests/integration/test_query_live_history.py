"""Live streams that go on after a message of long ago."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.query.documents.changes import Position
from services.query.documents.connecting import Connection
from services.query.documents.feed import Feed
from services.query.documents.generations import Pointer
from shared.documents import CHECKPOINTS, FEED, ORDERS, collection, version_id
from tests.query_service import Document, Store, order_document, order_id, store_of

pytestmark = pytest.mark.integration

_TOGETHER = 200
_WAIT_MS = 50


@pytest_asyncio.fixture
async def store(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Store]:
    async with store_of(mongodb_url, mongodb_database) as opened:
        yield opened


@pytest_asyncio.fixture
async def feed(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Feed]:
    async with Connection(mongodb_url, mongodb_database) as connection:
        yield Feed(connection)


def fed(number: int, customer: str) -> Document:
    """What the feed says of a new order."""
    identity = {"_id": version_id(order_id(number), 1), "orderId": order_id(number)}
    order = order_document(number, customer)
    return {
        **identity,
        "customerId": customer,
        "version": 1,
        "type": "OrderCreated",
        "traceparent": None,
        "order": order,
    }


async def write(store: Store, name: str, documents: list[Document]) -> None:
    """Write as the projection does: many documents to a transaction, which moves a checkpoint."""
    async with await store.database.client.start_session() as session:
        for start in range(0, len(documents), _TOGETHER):
            async with session.start_transaction():
                together = documents[start : start + _TOGETHER]
                await store.database[name].insert_many(together, session=session)
                await store.database[CHECKPOINTS].update_one(
                    {"_id": "1|orders|0"}, {"$inc": {"offset": len(together)}}, session=session
                )


@pytest_asyncio.fixture
async def begin(store: Store, feed: Feed) -> Position:
    """Where the first order of Ada stands."""
    await store.collection(CHECKPOINTS).insert_one({"_id": "1|orders|0", "offset": 0})
    async with feed.all_news(Pointer("1", {}), None) as stream:
        await store.collection(FEED).insert_one(fed(0, "ada"))
        while not (news := await stream.next(_WAIT_MS)).events:
            pass
        return news.events[0].position


async def steps(feed: Feed, begin: Position, last: str, *, everything: bool) -> list[list[str]]:
    """Whose orders each round trip tells of, up to the last order."""
    stream = (
        feed.all_news(Pointer("1", {}), begin)
        if everything
        else feed.order_events(begin, order_id=None, customer_id="ada")
    )
    told: list[list[str]] = []
    async with stream as news:
        while last not in (told or [[]])[-1]:
            told.append([event.order_id for event in (await news.next(_WAIT_MS)).events])
    return told


async def test_a_long_history_of_others_is_read_in_steps(store: Store, feed: Feed, begin: Position) -> None:
    """Else the server reads all of it before it answers, and who waits only so long never gets there."""
    await write(store, FEED, [fed(number, "bob") for number in range(1, 24_001)])
    await write(store, FEED, [fed(90_000, "ada")])
    told = await steps(feed, begin, order_id(90_000), everything=False)
    assert [order for step in told for order in step] == [order_id(90_000)]
    assert len(told) > 1


async def test_so_is_a_long_rebuild(store: Store, feed: Feed, begin: Position) -> None:
    rebuilt = [order_document(number, "bob") for number in range(1, 24_001)]
    await write(store, collection(ORDERS, "2"), rebuilt)
    await write(store, FEED, [fed(90_000, "ada")])
    told = await steps(feed, begin, order_id(90_000), everything=True)
    assert [order for step in told for order in step] == [order_id(90_000)]
    assert len(told) > 1

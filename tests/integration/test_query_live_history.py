"""Live streams that resume after an old message."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio
from starlette.types import Message

from services.query.arrivals import Arrivals
from services.query.documents.changes import Position
from services.query.documents.connecting import Connection
from services.query.documents.customers import Customers
from services.query.documents.feed import Feed
from services.query.documents.generations import LiveGeneration, Pointer
from services.query.live import hub as live_hub
from services.query.live import streams as live_streams
from services.query.live.cursors import cursor_of
from services.query.live.filters import Filters
from services.query.live.hub import Hub
from services.query.live.lifetime import Over, lasting
from services.query.live.messages import Namer
from services.query.live.parts import Beginning
from services.query.live.server_sent import ServerSentEvents
from services.query.live.streams import LiveStreams
from shared.auth import Authenticator, Principal
from shared.auth.keys import SharedSecret
from shared.documents import CHECKPOINTS, FEED, ORDERS, collection, version_id
from tests.query_service import SECRET, Document, Store, bearer, order_document, order_id

pytestmark = pytest.mark.integration

_TOGETHER = 200
_WAIT_MS = 50


@pytest.fixture
def feed(connection: Connection) -> Feed:
    return Feed(connection)


def fed(number: int, customer: str) -> Document:
    """The feed's document about a new order."""
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
    """Write as the projection does: many documents per transaction, which also moves a checkpoint."""
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
    """The position of Ada's first order."""
    await store.collection(CHECKPOINTS).insert_one({"_id": "1|orders|0", "offset": 0})
    async with feed.all_news(Pointer("1", {}), None) as stream:
        await store.collection(FEED).insert_one(fed(0, "ada"))
        while not (news := await stream.next(_WAIT_MS)).events:
            pass
        return news.events[0].position


async def steps(feed: Feed, begin: Position, last: str, *, everything: bool) -> list[list[str]]:
    """The orders that each round trip returns, up to the last order."""
    stream = (
        feed.all_news(Pointer("1", {}), begin)
        if everything
        else feed.order_events(begin, order_id=None, customer_id="ada")
    )
    found: list[list[str]] = []
    async with stream as news:
        while last not in (found or [[]])[-1]:
            found.append([event.order_id for event in (await news.next(_WAIT_MS)).events])
    return found


async def test_a_long_history_of_other_customers_is_read_in_steps(
    store: Store, feed: Feed, begin: Position
) -> None:
    """Otherwise the server reads all of it before it answers, and a read with a timeout never finishes."""
    await write(store, FEED, [fed(number, "bob") for number in range(1, 24_001)])
    await write(store, FEED, [fed(90_000, "ada")])
    found = await steps(feed, begin, order_id(90_000), everything=False)
    assert [order for step in found for order in step] == [order_id(90_000)]
    assert len(found) > 1


async def test_a_long_rebuild_is_read_in_steps(store: Store, feed: Feed, begin: Position) -> None:
    rebuilt = [order_document(number, "bob") for number in range(1, 24_001)]
    await write(store, collection(ORDERS, "2"), rebuilt)
    await write(store, FEED, [fed(90_000, "ada")])
    found = await steps(feed, begin, order_id(90_000), everything=True)
    assert [order for step in found for order in step] == [order_id(90_000)]
    assert len(found) > 1


async def test_a_stream_resumes_in_the_middle_of_a_transaction(
    store: Store, feed: Feed, begin: Position
) -> None:
    orders = [order_id(number) for number in range(1, 11)]
    await write(store, FEED, [fed(number, "ada") for number in range(1, 11)])
    places = [begin]
    async with feed.all_news(Pointer("1", {}), begin) as stream:
        while len(places) <= len(orders):
            places += [event.position for event in (await stream.next(_WAIT_MS)).events]
    for index, place in enumerate(places[:-1]):
        steps_on = await steps(feed, place, orders[-1], everything=False)
        assert [order for step in steps_on for order in step] == orders[index:]


@pytest_asyncio.fixture
async def streams(
    connection: Connection, feed: Feed, begin: Position, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LiveStreams]:
    """Streams of a service that was started after the position `begin`."""
    monkeypatch.setattr(live_hub, "_BEAT_SECONDS", 0.05)
    live = LiveGeneration(connection)
    async with Customers(live) as customers, Hub(feed, live, Arrivals(), customers.names) as hub:
        await hub.begin(ADAS)
        assert hub.join(ADAS, begin) is None
        yield LiveStreams(hub, feed, Namer(customers.names))


ADAS = Filters(owner="ada", order_id=None, customer_id=None, status=None)


async def test_a_stream_that_is_catching_up_sends_keepalives(
    store: Store, begin: Position, streams: LiveStreams
) -> None:
    await write(store, FEED, [fed(number, "bob") for number in range(1, 201)])
    async with streams.open(ADAS, cursor_of(begin)) as stream, aclosing(stream.parts()) as parts:
        assert await anext(parts) == Beginning(cursor_of(begin), reset=False)
        async with asyncio.timeout(10):
            # blocks all readers of history
            for _ in range(8):
                await streams.readers.acquire()
            assert await anext(parts) == ()
            assert await anext(parts) == ()
            for _ in range(8):
                streams.readers.release()
            await store.collection(FEED).insert_one(fed(90_000, "ada"))
            while not (messages := await anext(parts)):
                pass
    assert not isinstance(messages, Beginning)
    assert len(messages) == 1


async def test_server_sent_events_are_sent_one_by_one_to_a_reader_that_is_stuck(
    store: Store, begin: Position, streams: LiveStreams
) -> None:
    await write(store, FEED, [fed(number, "ada") for number in range(1, 51)])
    bodies: list[bytes] = []
    is_stuck = asyncio.Event()

    async def send(message: Message) -> None:
        bodies.append(message.get("body", b""))
        if b"data:" in bodies[-1]:
            is_stuck.set()
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    token = f"Bearer {bearer('ada')}".encode()
    headers = [(b"authorization", token), (b"last-event-id", cursor_of(begin).encode())]
    scope = {"type": "http", "method": "GET", "headers": headers, "query_string": b""}
    events = ServerSentEvents(streams, Authenticator(SharedSecret(SECRET)), lambda: 0)
    answering = asyncio.create_task(events(scope, receive, send))
    async with asyncio.timeout(10):
        await is_stuck.wait()
    answering.cancel()
    await asyncio.wait([answering])
    assert bodies[-1].count(b"data:") == 1


async def test_a_stream_that_has_ended_is_freed_without_garbage_collection(streams: LiveStreams) -> None:
    gc.disable()
    try:
        async with streams.open(ADAS, None) as stream, aclosing(stream.parts()) as parts:
            assert isinstance(await anext(parts), Beginning)
        ended = weakref.ref(stream)
        del stream, parts
        assert ended() is None
    finally:
        gc.enable()


async def test_a_reader_stuck_in_old_messages_is_cut_off(
    store: Store, begin: Position, streams: LiveStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_streams, "LONGEST_STUCK_SECONDS", 0.1)
    monkeypatch.setattr(streams.hub, "beat_seconds", 60)
    await store.collection(FEED).insert_one(fed(1, "ada"))
    async with streams.open(ADAS, cursor_of(begin)) as stream, asyncio.timeout(10):

        async def sending() -> None:
            async with aclosing(stream.parts()) as parts:
                assert isinstance(await anext(parts), Beginning)
                assert not isinstance(messages := await anext(parts), Beginning)
                assert len(messages) == 1
                await asyncio.Event().wait()

        async def staying() -> None:
            await asyncio.Event().wait()

        ada = Principal("ada", frozenset(), time.time() + 60)
        assert await lasting(stream, ada, sending(), staying()) is Over.TOO_SLOW

"""Live messages over WebSockets and server-sent events: each once, in order, with the current name."""

import asyncio
import json
import socket as sockets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.query.arrivals import Arrivals
from services.query.documents.connecting import Connection
from services.query.documents.customers import Customers
from services.query.documents.feed import Feed
from services.query.documents.generations import LiveGeneration
from services.query.live import hub as live_hub
from services.query.live.cursors import cursor_of, position_of
from services.query.live.filters import Filters
from services.query.live.hub import Hub
from services.query.live.lifetime import Over, lasting
from services.query.live.messages import Namer
from services.query.live.streams import LiveStreams
from services.query.live.subscription import MOST_WHILE_STUCK
from shared.auth import Principal
from shared.documents import FEED, version_id
from tests.query_service import (
    STAFF,
    TRACE,
    Document,
    System,
    authorization,
    bearer,
    order_document,
    order_id,
    query_system,
    serving,
    shipped,
    store_of,
)
from tests.servers import Server, eventually, start_mongodb

pytestmark = pytest.mark.integration

ADA = authorization("ada")


@pytest_asyncio.fixture
async def system(mongodb_url: str, mongodb_database: str) -> AsyncIterator[System]:
    async with query_system(mongodb_url, mongodb_database) as running:
        yield running


@asynccontextmanager
async def socket(
    url: str, headers: dict[str, str] | None = None, **given: Any
) -> AsyncIterator[ClientConnection]:
    """A WebSocket of staff, or of another caller; `query` filters it."""
    query = given.pop("query", "")
    address = url.replace("http", "ws") + "/ws" + (f"?{query}" if query else "")
    async with connect(address, additional_headers=headers or STAFF, **given) as opened:
        yield opened


async def heard(connection: ClientConnection, seconds: float = 10) -> Any:
    """The next message."""
    async with asyncio.timeout(seconds):
        return json.loads(await connection.recv())


def feed_document(number: int) -> Document:
    """The feed's document about a new order."""
    return {
        "_id": version_id(order_id(number), 1),
        "orderId": order_id(number),
        "customerId": "ada",
        "version": 1,
        "type": "OrderCreated",
        "traceparent": None,
        "order": order_document(number),
    }


async def seen(connection: ClientConnection, count: int) -> list[tuple[str, int]]:
    """The orders and versions of the next messages."""
    messages = [await heard(connection) for _ in range(count)]
    return [
        (message["order"]["id"], message["order"]["version"]) for message in messages if "order" in message
    ]


async def test_a_pushed_order_is_readable_and_has_the_current_name(system: System) -> None:
    await system.store.put_customer("ada", "Ada")
    order = order_document(1)
    async with socket(system.url, ADA) as mine:
        begin = await heard(mine)
        assert begin == {"id": begin["id"], "type": "ready"}
        await system.store.put_order(order)
        message = await heard(mine)
        read = await system.get(f"/orders/{order_id(1)}", ADA)
        assert message == {
            "id": message["id"],
            "type": "OrderCreated",
            "traceparent": TRACE,
            "order": read.json(),
        }
        await system.store.put_customer("ada", None, version=2)
        await system.store.put_order(shipped(order))
        message = await heard(mine)
        assert (message["type"], message["order"]["customerName"]) == ("OrderShipped", None)


async def test_filters_and_ownership_limit_a_stream(system: System) -> None:
    first, second = order_document(1, "ada"), order_document(2, "bob")
    async with (
        socket(system.url) as everything,
        socket(system.url, ADA) as own,
        socket(system.url, ADA, query="customerId=bob") as silent,
        socket(system.url, ADA, query=f"orderId={order_id(2)}") as silent_too,
        socket(system.url, query="customerId=bob") as bobs,
        socket(system.url, query="status=shipped") as parcels,
        socket(system.url, query=f"orderId={order_id(1)}") as single,
    ):
        sockets = (everything, own, silent, silent_too, bobs, parcels, single)
        for opened in sockets:
            assert (await heard(opened))["type"] == "ready"
        for order in (first, second, shipped(first), shipped(second)):
            await system.store.put_order(order)
        one, two = order_id(1), order_id(2)
        assert await seen(everything, 4) == [(one, 1), (two, 1), (one, 2), (two, 2)]
        assert await seen(own, 2) == [(one, 1), (one, 2)]
        assert await seen(bobs, 2) == [(two, 1), (two, 2)]
        assert await seen(parcels, 2) == [(one, 2), (two, 2)]
        assert await seen(single, 2) == [(one, 1), (one, 2)]
        for opened in (silent, silent_too):
            with pytest.raises(TimeoutError):
                await heard(opened, 0.2)


async def test_the_token_may_be_a_subprotocol(system: System) -> None:
    address = system.url.replace("http", "ws") + "/ws"
    async with connect(address, subprotocols=["bearer", bearer("ada")]) as opened:  # type: ignore[list-item] # a NewType of str
        assert opened.subprotocol == "bearer"
        assert (await heard(opened))["type"] == "ready"
    for headers in ({}, {"Authorization": "Bearer x.y.z"}):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(address, additional_headers=headers):
                pass
        response = refused.value.response
        assert response.status_code == 401
        assert json.loads(response.body)["code"] == "unauthenticated"
        assert response.headers["X-Request-Id"]


async def test_a_stream_resumes_after_any_of_its_messages(system: System) -> None:
    """From memory, and, after a restart of the service, from history."""
    async with socket(system.url, ADA) as opened:
        cursors = [(await heard(opened))["id"]]
        for number in range(1, 6):
            await system.store.put_order(order_document(number, ("ada", "bob")[number % 2]))
        for number in range(6, 9):
            await system.store.put_order(order_document(number, "ada"))
        cursors += [(await heard(opened))["id"] for _ in range(5)]
    expected = [order_id(number) for number in (2, 4, 6, 7, 8)]
    database = system.store.database.name
    async with serving(system.mongodb_url, database) as other:
        await eventually(lambda: followed(other), "the other service follows the feed")
        for url in (system.url, other):
            for index, cursor in enumerate(cursors):
                async with socket(url, ADA, query=f"cursor={cursor}") as again:
                    assert await heard(again) == {"id": cursor, "type": "ready"}
                    for expected_id in expected[index:]:
                        assert (await heard(again))["order"]["id"] == expected_id
        # in the end, every resumed stream is live again
        async with socket(other, ADA, query=f"cursor={cursors[2]}") as again:
            for _ in range(4):
                await heard(again)
            await system.store.put_order(order_document(9))
            assert (await heard(again))["order"]["id"] == order_id(9)


async def followed(url: str) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.head(f"{url}/orders/stream", headers=STAFF)).status_code == 200


async def test_a_filter_may_change_with_the_cursor(system: System) -> None:
    async with socket(system.url) as opened:
        await heard(opened)
        await system.store.put_order(order_document(1, "ada"))
        cursor = (await heard(opened))["id"]
        await system.store.put_order(order_document(2, "bob"))
        await system.store.put_order(order_document(3, "ada"))
        await seen(opened, 2)
    async with serving(system.mongodb_url, system.store.database.name) as other:
        await eventually(lambda: followed(other), "the other service follows the feed")
        async with socket(other, query=f"cursor={cursor}&customerId=bob") as bobs:
            assert await heard(bobs) == {"id": cursor, "type": "ready"}
            assert await seen(bobs, 1) == [(order_id(2), 1)]


async def test_streams_that_join_under_load_miss_nothing(system: System) -> None:
    async with socket(system.url) as opened:
        begin = (await heard(opened))["id"]
    total = 1500

    async def write() -> None:
        for start in range(0, total, 50):
            feed = [
                {
                    "_id": f"{order_id(number)}:1",
                    "orderId": order_id(number),
                    "customerId": "ada",
                    "version": 1,
                    "type": "OrderCreated",
                    "traceparent": None,
                    "order": order_document(number),
                }
                for number in range(start, start + 50)
            ]
            await system.store.collection(FEED).insert_many(feed)

    async def read(url: str) -> list[str]:
        async with socket(url, query=f"cursor={begin}") as opened:
            assert (await heard(opened))["type"] == "ready"
            return [(await heard(opened))["order"]["id"] for _ in range(total)]

    async with serving(system.mongodb_url, system.store.database.name) as other:
        await eventually(lambda: followed(other), "the other service follows the feed")
        writing = asyncio.create_task(write())
        seen_by = await asyncio.gather(*(read(url) for url in (system.url, other) for _ in range(3)))
        await writing
    for ids in seen_by:
        assert ids == [order_id(number) for number in range(total)]


async def test_an_unusable_cursor_is_answered_with_a_reset(system: System) -> None:
    async with socket(system.url) as opened:
        good = (await heard(opened))["id"]
    position = position_of(good)
    assert position is not None
    # nonsense, truncated, one wrong character, from 1970, from 2100, of an event that never existed
    slip = good[:6] + ("A" if good[6] != "A" else "B") + good[7:]
    forged = (f"82{seconds:08X}000000012B0229296E04" for seconds in (1, 0xF4865700))
    never = position[:24]
    for cursor in ("nonsense", good[:5], slip, *(cursor_of(made_up) for made_up in (*forged, never))):
        async with socket(system.url, query=f"cursor={cursor}") as opened:
            begin = await heard(opened)
            assert begin == {"id": begin["id"], "type": "reset"}
            assert begin["id"] != cursor
            await system.store.put_order(order_document(hash(cursor) % 10**9))
            assert (await heard(opened))["type"] == "OrderCreated"


async def test_a_switch_of_generations_neither_repeats_nor_loses_messages(system: System) -> None:
    async with socket(system.url) as opened:
        await heard(opened)
        await system.store.put_order(order_document(1))
        await system.store.point_to("2")
        await system.store.put_customer("ada", "Ada the second")
        await system.store.put_order(order_document(2))
        first, second = await heard(opened), await heard(opened)
        assert (first["order"]["id"], second["order"]["id"]) == (order_id(1), order_id(2))
        assert second["order"]["customerName"] == "Ada the second"


async def test_a_token_that_expires_ends_the_stream(system: System) -> None:
    brief = {"Authorization": f"Bearer {bearer('ada', seconds=2)}"}
    async with socket(system.url, brief) as opened:
        await heard(opened)
        with pytest.raises(ConnectionClosed) as closed:
            await heard(opened)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
    brief = {"Authorization": f"Bearer {bearer('ada', seconds=2)}"}
    async with system.client.stream("GET", "/orders/stream", headers=brief) as stream:
        lines = [line async for line in stream.aiter_lines()]
    assert lines[0].startswith("id: ")


async def test_a_burst_reaches_every_reader(system: System) -> None:
    """As when the projection returns and catches up."""
    total = 4000
    burst = [feed_document(number) for number in range(total)]
    async with socket(system.url) as one, socket(system.url) as two:
        for opened in (one, two):
            await heard(opened)
        await system.store.collection(FEED).insert_many(burst)
        seen_by = await asyncio.gather(seen(one, total), seen(two, total))
    for orders in seen_by:
        assert orders == [(order_id(number), 1) for number in range(total)]


async def test_a_slow_reader_is_cut_off(system: System) -> None:
    many = [f"product number {number} of a very long order" for number in range(100)]
    items = [{"productId": name, "productName": name * 4, "quantity": 1, "price": 1} for name in many]

    def document(number: int) -> Document:
        return feed_document(number) | {"order": order_document(number, items=items)}

    async def open_streams() -> int:
        return int(await system.metric("query_live_streams"))

    address = httpx.URL(system.url)
    with sockets.socket() as connection:
        # some machines buffer 30 MB by default, and a reader of less than that would not be slow
        connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 65536)
        connection.connect((address.host, address.port))
        async with (
            socket(system.url, max_queue=1, sock=connection) as slow,
            socket(system.url) as quick,
            asyncio.timeout(60),
        ):
            await heard(slow)
            await heard(quick)
            start = 0
            while await open_streams() > 1:
                batch = range(start, start + 100)
                await system.store.collection(FEED).insert_many([document(number) for number in batch])
                assert await seen(quick, 100) == [(order_id(number), 1) for number in batch]
                start += 100
            assert start >= MOST_WHILE_STUCK
            with pytest.raises(ConnectionClosed) as closed:
                await seen(slow, start + 1)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013


async def test_a_stream_that_was_cut_off_before_its_first_message_ends(
    mongodb_url: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.query.live.subscription.MOST_WAITING", MOST_WHILE_STUCK)
    async with (
        store_of(mongodb_url, mongodb_database) as store,
        Connection(mongodb_url, mongodb_database) as connection,
    ):
        live, feed = LiveGeneration(connection), Feed(connection)
        async with Customers(live) as customers, Hub(feed, live, Arrivals(), customers.names) as hub:
            everything = Filters(owner=None, order_id=None, customer_id=None, status=None)
            async with LiveStreams(hub, feed, Namer(customers.names)).open(everything, None) as stream:
                cut_off = asyncio.Event()
                stream.on_too_slow = cut_off.set
                many = [feed_document(number) for number in range(MOST_WHILE_STUCK + 1)]
                await store.collection(FEED).insert_many(many)
                await asyncio.wait_for(cut_off.wait(), 10)

                async def sending() -> None:
                    sent = 0
                    async for _ in stream.parts():
                        sent += 1
                        assert sent < 10, "it keeps sending without ever waiting"

                async def staying() -> None:
                    await asyncio.Event().wait()

                grace = Principal("grace", frozenset({"staff"}), time.time() + 60)
                assert await lasting(stream, grace, sending(), staying()) is Over.TOO_SLOW


async def test_server_sent_events_have_ids_and_can_be_resumed(system: System) -> None:
    async with system.client.stream("GET", "/orders/stream", headers=ADA) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.aiter_lines()
        begin = await anext(lines)
        assert begin.startswith("id: ")
        assert await anext(lines) == ""
        await system.store.put_order(order_document(1))
        identifier, data = await anext(lines), await anext(lines)
        message = json.loads(data.removeprefix("data: "))
        assert identifier == f"id: {message['id']}"
        assert message["order"]["id"] == order_id(1)
    await system.store.put_order(order_document(2))
    resumed = {**ADA, "Last-Event-ID": message["id"]}
    async with system.client.stream("GET", "/orders/stream?cursor=nonsense", headers=resumed) as stream:
        lines = stream.aiter_lines()
        assert [await anext(lines), await anext(lines)] == [identifier, ""]
        await anext(lines)
        assert json.loads((await anext(lines)).removeprefix("data: "))["order"]["id"] == order_id(2)
    async with system.client.stream("GET", "/orders/stream?cursor=nonsense", headers=ADA) as stream:
        lines = stream.aiter_lines()
        begin = (await anext(lines)).removeprefix("id: ")
        assert json.loads((await anext(lines)).removeprefix("data: ")) == {"id": begin, "type": "reset"}


async def test_comments_are_sent_as_heartbeats(
    mongodb_url: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert live_hub._BEAT_SECONDS == 10, "the interval of the contract"
    monkeypatch.setattr(live_hub, "_BEAT_SECONDS", 0.2)
    async with query_system(mongodb_url, mongodb_database) as system:
        stream = system.client.stream("GET", "/orders/stream", headers=ADA)
        async with asyncio.timeout(15), stream as opened:
            comments = (line async for line in opened.aiter_lines() if line.startswith(":"))
            for _ in range(3):
                await anext(comments)


async def test_the_initial_cursor_reveals_no_other_customers_order(system: System) -> None:
    await system.store.put_order(order_document(77, "bob"))
    async with socket(system.url, ADA) as opened:
        cursor = (await heard(opened))["id"]
    # only a time; the position of an event has more than a hundred characters
    assert len(cursor) < 40


@pytest_asyncio.fixture(scope="module")
async def own_mongodb(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A MongoDB that can be stopped without affecting other tests."""
    server = await start_mongodb(tmp_path_factory.mktemp("mongodb") / "own")
    yield server
    await server.stop()


async def test_everything_resumes_when_mongodb_returns(own_mongodb: Server) -> None:
    async with query_system(own_mongodb.url, "outage") as system, socket(system.url) as opened:
        await heard(opened)
        await system.store.put_order(order_document(1))
        assert await seen(opened, 1) == [(order_id(1), 1)]
        await own_mongodb.stop()
        for path in (f"/orders/{order_id(1)}", "/orders", "/products", "/orders/stream"):
            async with asyncio.timeout(6):
                answer = await system.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert "x-read-model-lag-ms" in answer.headers
        assert (await system.get("/health/ready")).status_code == 503
        assert (await system.get("/health/live")).status_code == 200
        await own_mongodb.start()

        async def ready() -> bool:
            return (await system.get("/health/ready")).status_code == 200

        await eventually(ready, "ready again", 30)
        async with store_of(own_mongodb.url, "outage") as store:
            await store.put_order(order_document(2))
        assert await seen(opened, 1) == [(order_id(2), 1)]
        assert (await system.get(f"/orders/{order_id(2)}")).status_code == 200


async def test_a_frozen_mongodb_is_reported_as_unavailable(own_mongodb: Server) -> None:
    async with query_system(own_mongodb.url, "frozen") as system:
        await system.store.put_order(order_document(1))
        own_mongodb.freeze()
        try:
            async with asyncio.timeout(6):
                answer = await system.get(f"/orders/{order_id(1)}")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")

            async def unfollowed() -> bool:
                return not await followed(system.url)

            # waits for changes notice it, too, long before they time out
            await eventually(unfollowed, "streams are refused", 6)
        finally:
            own_mongodb.thaw()

        async def readable() -> bool:
            return (await system.get(f"/orders/{order_id(1)}")).status_code == 200

        await eventually(readable, "readable again", 30)
        await eventually(lambda: followed(system.url), "followed again", 30)

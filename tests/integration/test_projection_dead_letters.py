"""Dead letters are inspected and redriven."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from services.command.relay.partitions import partition_of
from shared.documents import CUSTOMERS, FEED, ORDER_HISTORY, ORDERS, PARKED, version_id
from shared.events import CustomerErased
from shared.topics import DEFAULT_PARTITIONS
from tests.projecting import World, created, shipped, world
from tests.projection_records import headers, value
from tests.relaying import records, remake_topics
from tests.servers import Server

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def around(kafka: Server, mongodb: Server, tmp_path: Path) -> AsyncIterator[World]:
    """Empty topics, an empty database and a running service."""
    await remake_topics(kafka.url)
    async with world(kafka.url, mongodb.url, tmp_path) as made:
        await (await made.projection()).ready()
        yield made


async def test_a_stream_is_redriven_in_order_once_a_usable_copy_exists(around: World) -> None:
    await around.topics.publish("orders", [("bad", 1, b"{}"), ("bad", 2, shipped("bad"))])
    await around.projected(2)
    status, output = await around.command("dead-letters", "list")
    assert (status, "orders/bad" in output) == (0, True)
    status, output = await around.command("dead-letters", "show", "orders/bad")
    assert status == 0
    assert "unreadable" in output
    assert "version 2" in output
    status, output = await around.command("dead-letters", "redrive")
    assert status == 1, "version 1 cannot be read"
    assert "still parked" in output
    # republished, as `republish` does
    await around.topics.publish("orders", [("bad", 1, created("bad"))])
    await around.projected(3)
    assert await around.all(ORDERS) == {}
    status, output = await around.command("dead-letters", "redrive", "orders/bad")
    assert status == 0, output
    assert (await around.all(ORDERS))["bad"]["status"] == "shipped"
    assert await around.database[FEED].count_documents({}) == 2
    assert await around.database[PARKED].count_documents({"open": True}) == 0
    assert (await around.command("dead-letters", "redrive"))[0] == 0, "redriving again does nothing"
    await around.topics.publish("orders", [("bad", 2, shipped("bad")), ("next", 1, created("next"))])
    await around.projected(5)
    assert await around.database[FEED].count_documents({}) == 3


async def test_a_redriven_event_keeps_the_publication_time_of_its_record(around: World) -> None:
    published = datetime(2026, 3, 1, 10, tzinfo=UTC)
    home, at = partition_of(b"bad", DEFAULT_PARTITIONS), round(published.timestamp() * 1000)
    for version, content in ((1, b"{}"), (2, value("bad", 2, shipped("bad"))), (3, b"{}")):
        more: Any = {"headers": headers("first"), "timestamp_ms": at + version}
        await send(around.kafka, "orders", home, b"bad", content, **more)
    await around.projected(3)
    older = {"headers": headers("first"), "timestamp_ms": at}
    await send(around.kafka, "orders", home, b"bad", value("bad", 1, created("bad")), **older)
    await around.projected(4)
    status, output = await around.command("dead-letters", "redrive", "orders/bad")
    assert "2 events applied" in output, (status, output)
    history = await around.all(ORDER_HISTORY)
    seen = {row["version"]: (row["offset"], row["publishedAt"]) for row in history.values()}
    assert seen == {1: (3, published), 2: (1, published + timedelta(milliseconds=2))}


async def test_a_redrive_continues_past_events_that_another_generation_added_to_the_feed(
    around: World,
) -> None:
    await around.topics.publish("orders", [("bad", 1, b"{}"), ("bad", 2, shipped("bad"))])
    await around.topics.publish("orders", [("bad", 1, created("bad"))])
    await around.projected(3)
    # as if added by another generation while it was live, before a rollback to this one
    entry = {"_id": version_id("bad", 2), "orderId": "bad", "version": 2, "at": datetime.now(UTC)}
    await around.database[FEED].insert_one(entry)
    status, output = await around.command("dead-letters", "redrive", "orders/bad")
    assert status == 0, output
    assert (await around.all(ORDERS))["bad"]["version"] == 2
    assert await around.database[PARKED].count_documents({"open": True}) == 0
    feed = await around.database[FEED].find({}).sort("version", 1).to_list(None)
    assert [each["version"] for each in feed] == [1, 2]
    assert "order" not in feed[1], "the existing entry is unchanged"


async def test_a_redrive_includes_events_parked_while_it_runs(around: World) -> None:
    await around.topics.publish("orders", [("bad", 1, b"{}")])
    await around.topics.publish("orders", [("bad", 1, created("bad"))])
    publishing = around.topics.publish
    await around.projected(2)
    await publishing("orders", [(f"o{number}", 1, created(f"o{number}")) for number in range(2000)])
    await publishing("orders", [("bad", 2, shipped("bad"))])
    status, output = await around.command("dead-letters", "redrive")
    assert status == 0, output
    await around.projected(2003)
    (await around.command("dead-letters", "redrive"))
    orders = await around.all(ORDERS)
    assert (len(orders), orders["bad"]["version"]) == (2001, 2)
    assert await around.database[PARKED].count_documents({"open": True}) == 0


async def test_a_stream_republished_from_its_beginning_is_parked_at_the_broken_event(around: World) -> None:
    await around.topics.publish("orders", [("o", 1, created("o")), ("o", 2, shipped("o"))])
    await around.projected(2)
    # one batch: it seems to start a stream, but only its last record is new
    again = [("o", 1, created("o")), ("new", 1, created("new")), ("o", 2, shipped("o")), ("o", 3, b"{}")]
    await around.topics.publish("orders", again)
    await around.projected(6)
    parked = await around.database[PARKED].find({"open": True}).to_list(None)
    assert [(mark["subject"], mark["firstVersion"], mark["lastVersion"]) for mark in parked] == [("o", 3, 3)]
    assert {name: order["version"] for name, order in (await around.all(ORDERS)).items()} == {
        "o": 2,
        "new": 1,
    }
    assert await around.database[FEED].count_documents({}) == 3


def of_partition(partition: int, prefix: str) -> str:
    """An id whose events go to that partition."""
    names = (f"{prefix}{number}" for number in range(1000))
    return next(name for name in names if partition_of(name.encode(), DEFAULT_PARTITIONS) == partition)


def with_more(more: bytes) -> bytes:
    """A valid event with an additional field in its data."""
    return value("bad", 1, created("bad"))[:-2] + b',"more":' + more + b"}}"


async def send(kafka: str, topic: str, partition: int, key: bytes | None, content: Any, **more: Any) -> None:
    """Send a foreign record."""
    packed = {"compression_type": "gzip", "max_request_size": 50_000_000}
    async with AIOKafkaProducer(bootstrap_servers=kafka, **packed) as producer:
        await producer.send_and_wait(topic, content, key, partition=partition, **more)


ODD: Sequence[tuple[bytes | None, dict[str, Any]]] = (
    (None, {}),
    (b"{", {"headers": [("incarnation", None), ("dead-letter-topic", None)]}),
    (b"{", {"timestamp_ms": -(10**15)}),
    (with_more(b'{"$ref":1,"a.b":{"$set":{}}}'), {"headers": headers("first")}),
    (with_more(b"[" * 300 + b"]" * 300), {"headers": headers("first")}),
    (b"0" * 6_000_000, {"headers": headers("first")}),
    (b"{", {"headers": [("large", b"0" * 5_000_000)]}),
    (with_more(b'"' + b"x" * 20_000_000 + b'"'), {"headers": headers("first")}),
)


async def test_no_foreign_record_blocks_the_records_after_it(around: World) -> None:
    good = [of_partition(partition, "good") for partition in range(len(ODD))]
    for partition, (content, more) in enumerate(ODD):
        await send(around.kafka, "orders", partition, b"bad", content, **more)
    await around.topics.publish("orders", [(name, 1, created(name)) for name in good])
    await around.projected(2 * len(ODD))
    assert set(good) <= set(await around.all(ORDERS))


async def test_a_record_without_key_and_value_blocks_no_customer(around: World) -> None:
    async with AIOKafkaProducer(bootstrap_servers=around.kafka) as producer:
        batch = producer.create_batch()  # `send` rejects this, but other clients allow it
        assert batch.append(key=None, value=None, timestamp=None) is not None
        partition = partition_of(b"ada", DEFAULT_PARTITIONS)
        await (await producer.send_batch(batch, "customers", partition=partition))
    await around.topics.publish("customers", [("ada", 1, CustomerErased(customer_id="ada"))])
    await around.projected(2)
    assert set(await around.all(CUSTOMERS)) == {"ada"}


@pytest.mark.parametrize("key", [None, b"", b"no customer's id", b"\xff", b"x" * 1000, b"x" * 5_000_000])
async def test_a_key_that_is_not_a_customer_id_blocks_no_customer(around: World, key: bytes | None) -> None:
    await send(around.kafka, "customers", partition_of(b"ada", DEFAULT_PARTITIONS), key, b"{}")
    await around.topics.publish("customers", [("ada", 1, CustomerErased(customer_id="ada"))])
    await around.projected(2)
    assert set(await around.all(CUSTOMERS)) == {"ada"}


@pytest.mark.parametrize("compression", ["lz4", "snappy", "zstd"])
async def test_records_may_use_any_compression(around: World, compression: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=around.kafka, compression_type=compression) as producer:
        await producer.send_and_wait("orders", value("o1", 1, created("o1")), b"o1", headers=headers())
    await around.projected(1)
    assert set(await around.all(ORDERS)) == {"o1"}


async def test_a_record_too_large_for_the_dead_letters_is_sent_without_its_value(around: World) -> None:
    await send(around.kafka, "orders", 0, b"bad", b"0" * 6_000_000, headers=[("who", b"me")])
    await around.projected(1)
    (letter,) = await records(around.kafka, ["orders.dlq"])
    assert (letter.key, letter.value) == (b"bad", None)
    found = dict(letter.headers)
    assert (found["who"], found["dead-letter-partition"], found["dead-letter-offset"]) == (b"me", b"0", b"0")
    assert found["dead-letter-error"].endswith(b"(omitted as too large: its value)")


async def test_a_record_that_just_fits_its_topic_fits_the_dead_letters_unchanged(around: World) -> None:
    content = b"{" + random.Random(7).randbytes(1_048_100)  # does not compress
    await send(around.kafka, "orders", 0, b"bad", content)
    await around.projected(1)
    (letter,) = await records(around.kafka, ["orders.dlq"])
    assert letter.value == content


async def test_a_stream_is_listed_in_the_form_that_redrive_accepts(around: World) -> None:
    order = str(uuid4())
    await around.topics.publish("orders", [(order, 1, b"not JSON")])
    await around.projected(1)
    status, output = await around.command("dead-letters", "list")
    assert status == 0
    assert f"orders/{order}, versions 1 to 1, since" in output
    status, output = await around.command("dead-letters", "redrive", f"orders/{order}")
    assert status == 1
    assert f"orders/{order} in generation 1-1: 0 events applied, still parked: JSONDecodeError" in output


async def test_foreign_bytes_cannot_forge_lines_or_control_a_terminal(around: World) -> None:
    await send(around.kafka, "orders", 0, b"a\0\n\x1b[2J", b"b\r\n\x1b[2J \xc3\xa9\xff")
    await around.projected(1)
    stream = r"orders/a\x00\n\x1b[2J"
    status, listed = await around.command("dead-letters", "list")
    assert listed.startswith(f"{stream}, versions 1 to 1")
    status, shown = await around.command("dead-letters", "show", stream)
    assert status == 0, "the listed form is accepted"
    assert shown.splitlines()[1] == r"  b\r\n\x1b[2J é\xff"
    log = around.projections[0].log.read_text()
    assert r"dead letter 0 of a\x00\n\x1b[2J" in log


@pytest.mark.parametrize("what", ["show", "redrive"])
async def test_a_stream_of_an_unknown_topic_is_rejected_immediately(around: World, what: str) -> None:
    status, output = await around.command("dead-letters", what, "order/o1")
    assert status == 2
    assert "the topics are orders, customers, products" in output


async def test_a_command_leaves_no_connection_open_when_the_broker_is_unavailable(around: World) -> None:
    around.kafka = "127.0.0.1:1"
    status, output = await around.command("dead-letters", "show", "orders/o1")
    assert (status, output) == (1, "Failed: dead letters: KafkaConnectionError.\n")


async def test_a_stream_is_redriven_under_continuous_traffic(around: World) -> None:
    await around.topics.publish("orders", [("bad", 1, b"{}"), ("bad", 1, created("bad"))])
    await around.projected(2)
    ended = asyncio.Event()

    async def traffic() -> None:
        names = (name for name in map("o{}".format, count()) if partition_of(name.encode(), 12) == home)
        while not ended.is_set():
            order = next(names)
            await around.topics.publish("orders", [(order, 1, created(order))])

    home = partition_of(b"bad", DEFAULT_PARTITIONS)
    busy = asyncio.create_task(traffic())
    status, output = await around.command("dead-letters", "redrive", "orders/bad")
    ended.set()
    await busy
    assert status == 0, output
    assert "orders/bad in generation 1-1: 1 events applied" in output

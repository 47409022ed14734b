"""A rebuild alongside a running service: compared, switched, rolled back, without affecting readers."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from services.projection.store.connecting import Collection, Mongo
from services.projection.store.generations import Generations
from shared.documents import (
    CHECKPOINTS,
    CUSTOMERS,
    DAILY_SALES,
    FEED,
    GENERATIONS,
    LIVE,
    ORDERS,
    PARKED,
    collection,
)
from shared.events import CustomerErased, CustomerRegistered
from shared.times import rfc3339
from shared.topics import CATEGORIES
from tests.integration.test_projection import exact, names
from tests.integration.test_projection_faults import beat
from tests.projecting import Projection, World, created, shipped, world
from tests.relaying import remake_topics
from tests.servers import Server, eventually

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def around(kafka: Server, mongodb: Server, tmp_path: Path) -> AsyncIterator[World]:
    """Empty topics, an empty database."""
    await remake_topics(kafka.url)
    async with world(kafka.url, mongodb.url, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def projection(around: World) -> Projection:
    """A running service."""
    started = await around.projection()
    await started.ready()
    return started


async def live(around: World) -> str:
    pointer = await around.database[GENERATIONS].find_one({"_id": LIVE})
    assert pointer is not None
    found: str = pointer["generation"]
    return found


@asynccontextmanager
async def orders_arriving(around: World, prefix: str) -> AsyncIterator[list[str]]:
    """Publish orders continuously, each created and shipped, until the context exits."""
    orders: list[str] = []
    stopping = asyncio.Event()

    async def arrive() -> None:
        while not stopping.is_set():
            some = [f"{prefix}{len(orders) + number}" for number in range(20)]
            await around.topics.publish("orders", [(order, 1, created(order)) for order in some])
            await around.topics.publish("orders", [(order, 2, shipped(order)) for order in some])
            orders.extend(some)

    arriving = asyncio.create_task(arrive())
    try:
        yield orders
    finally:
        stopping.set()
        await arriving


@asynccontextmanager
async def reading(around: World, order: str) -> AsyncIterator[list[str]]:
    """Read an order through the pointer continuously; yields the generations it was read from."""
    seen: list[str] = []
    stopping = asyncio.Event()

    async def read() -> None:
        while not stopping.is_set():
            generation = await live(around)
            found = await around.database[collection(ORDERS, generation)].find_one({"_id": order})
            if await live(around) == generation:
                assert found is not None, f"the order is not in generation {generation}"
                seen.append(generation)

    task = asyncio.create_task(read())
    try:
        yield seen
    finally:
        stopping.set()
        await task


async def test_a_rebuild_under_traffic_switches_when_nothing_differs(
    around: World, projection: Projection
) -> None:
    orders = names(500)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders])
    await around.projected(1000)
    before = await live(around)
    async with orders_arriving(around, "new") as arriving, reading(around, "o1") as seen:
        status, output = await around.command("rebuild")
        assert status == 0, output
    after = await live(around)
    assert (before, after) == ("1-1", "1-2")
    assert set(seen) == {before, after}
    assert "orders: " in output
    assert " 0 different" in output
    await around.projected(2 * (len(orders) + len(arriving)))
    await exact(around, orders + arriving, versions=2)

    async def follows() -> bool:
        report = await projection.get("/lag")
        return {row["generation"] for row in report["readModels"]} == {after}

    await eventually(follows, "/lag names the new generation")
    status, output = await around.command("rollback")
    assert status == 0, output
    assert await live(around) == before
    more = names(50, "more")
    await around.topics.publish("orders", [(order, 1, created(order)) for order in more])
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in more])
    await around.projected(2 * (len(orders) + len(arriving) + len(more)))
    await exact(around, orders + arriving + more, versions=2)


async def test_a_rebuild_succeeds_with_a_partition_left_empty_by_re_creating_its_topic(
    around: World, projection: Projection
) -> None:
    orders = names(50)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    async with AIOKafkaProducer(bootstrap_servers=around.kafka) as producer:
        await producer.send_and_wait("products", b"not JSON", b"bad", partition=3)
    await around.projected(51)
    await remake_topics(around.kafka)
    around.topics.incarnation = "second"
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])

    async def restarted() -> bool:
        await beat(around.kafka, rfc3339(datetime.now(UTC)), {topic: [] for topic in CATEGORIES}, "second")
        return "products/3 restarts from the beginning" in projection.log.read_text()

    await eventually(restarted, "the partition notices the new topic", 20, every=0.5)
    status, output = await around.command("rebuild")
    assert status == 0, output
    assert await live(around) == "1-2"
    status, output = await around.command("rollback")
    assert status == 0, output
    await exact(around, orders, versions=1)


async def test_differences_are_reported_and_switched_to_only_when_accepted(
    around: World, projection: Projection
) -> None:
    orders = names(20)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(20)
    damaged = around.database[collection(ORDERS, "1-1")]
    await damaged.update_one({"_id": "o3"}, {"$set": {"total": 1, "total_" + 80 * "x": 1}})
    await damaged.delete_one({"_id": "o4"})
    status, output = await around.command("rebuild")
    assert status == 1
    assert f"orders o3 differs in total, total_{80 * 'x'} (" in output, "on one line, however long"
    assert "orders o4 is new" in output
    assert await live(around) == "1-1"
    status, output = await around.command("rebuild", "customers", "--accept")
    assert status == 1, "a read model other than the named one differs"
    status, output = await around.command("rebuild", "orders", "--accept")
    assert status == 0, output
    assert await live(around) == "1-2", "the unfinished generation was resumed"
    await exact(around, orders, versions=1)


async def test_events_republished_to_a_live_generation_without_them_are_added_to_the_feed_once(
    around: World, projection: Projection
) -> None:
    orders = names(20)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(20)
    await remake_topics(around.kafka)
    around.topics.incarnation = "second"
    later = names(100, "later")  # some in every partition, so that each notices the new topic
    await around.topics.publish("orders", [(order, 1, created(order)) for order in later])

    async def both() -> bool:
        return len(await around.all(ORDERS)) == 120

    await eventually(both, "the later orders are projected", 30)
    status, output = await around.command("rebuild", "--accept")
    assert status == 0, output
    assert set(await around.all(ORDERS)) == set(later), "the topic did not hold the others"
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(120)
    await exact(around, orders + later, versions=1)


async def test_an_unfinished_rebuild_is_discarded_cleanly(around: World, projection: Projection) -> None:
    await around.topics.publish("orders", [("o1", 1, created("o1"))])
    await around.projected(1)
    await around.database[collection(ORDERS, "1-1")].update_one({"_id": "o1"}, {"$set": {"total": 1}})
    assert (await around.command("rebuild"))[0] == 1
    status, output = await around.command("rebuild", "--discard")
    assert status == 0, output
    assert await around.database[CHECKPOINTS].count_documents({"generation": "1-2"}) == 0
    assert not [name for name in await around.database.list_collection_names() if name.endswith("__1-2")]
    await around.topics.publish("orders", [("o2", 1, created("o2"))])
    await around.projected(2)
    assert await around.database[FEED].count_documents({}) == 2


class KilledError(Exception):
    """Simulates the death of the process."""


class DiesAt(Mongo):
    """A connection whose process dies when it accesses the collection `last`."""

    last = ""

    def __getitem__(self, name: str) -> Collection:
        if name == self.last:
            raise KilledError
        return super().__getitem__(name)


@pytest.mark.parametrize("last", [CHECKPOINTS, PARKED])
async def test_a_rebuild_does_not_resume_what_a_killed_discard_left_behind(
    around: World, projection: Projection, last: str
) -> None:
    await around.topics.publish("orders", [("o1", 1, created("o1"))])
    await around.projected(1)
    damaged = around.database[collection(ORDERS, "1-1")]
    await damaged.update_one({"_id": "o1"}, {"$set": {"total": 1}})
    assert (await around.command("rebuild"))[0] == 1
    async with DiesAt(around.mongodb, around.database.name) as mongo:
        mongo.last = last
        with pytest.raises(KilledError):
            await Generations(mongo).drop("1-2")
    await damaged.update_one({"_id": "o1"}, {"$set": {"total": 100}})
    status, output = await around.command("rebuild")
    assert status == 0, output
    assert await around.database[collection(ORDERS, await live(around))].index_information() == (
        await damaged.index_information()
    )
    await exact(around, ["o1"], versions=1)
    kept = await around.database[GENERATIONS].distinct("_id")
    assert kept == ["1-1", "1-3", LIVE], "the rest is dropped after the switch"


async def test_the_next_discard_completes_one_that_was_killed(around: World, projection: Projection) -> None:
    await around.database[GENERATIONS].insert_one({"_id": "1-2", "revision": 1, "number": 2})
    async with DiesAt(around.mongodb, around.database.name) as mongo:
        mongo.last = CHECKPOINTS
        with pytest.raises(KilledError):
            await Generations(mongo).drop("1-2")
    status, output = await around.command("rebuild", "--discard")
    assert (status, output) == (0, "Dropped generation 1-2.\n")
    assert await around.database[GENERATIONS].distinct("_id") == ["1-1", LIVE]


async def test_no_generation_keeps_an_erased_name(around: World, projection: Projection) -> None:
    keys = around.keys
    text = keys.encrypted("ada", "Ada")
    registered = CustomerRegistered(customer_id="ada", name=text, email=text)
    await around.topics.publish("customers", [("ada", 1, registered)])
    await around.projected(1)
    status, output = await around.command("rebuild")
    assert status == 0, output
    assert (await around.all(CUSTOMERS, "1-1"))["ada"]["name"] == "Ada"
    del keys.keys["ada"]
    await around.topics.publish("customers", [("ada", 2, CustomerErased(customer_id="ada"))])
    await around.projected(2)
    for generation in ("1-1", "1-2"):
        assert (await around.all(CUSTOMERS, generation))["ada"]["name"] is None


async def test_a_killed_rebuild_is_resumed(around: World, projection: Projection) -> None:
    orders = names(3000)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(len(orders))
    rebuild = Projection(around.environment(), around.tmp / "rebuild.log", ("rebuild",))
    await rebuild.start()

    async def started() -> bool:
        return bool(
            await around.database[CHECKPOINTS].count_documents({"generation": "1-2", "offset": {"$gt": 0}})
        )

    await eventually(started, "filling has started", 30)
    await rebuild.kill()
    more = names(100, "more")
    await around.topics.publish("orders", [(order, 1, created(order)) for order in more])
    await around.projected(len(orders) + len(more))
    if await live(around) == "1-1":
        status, output = await around.command("rebuild")
        assert status == 0, output
    assert await live(around) == "1-2"
    await exact(around, orders + more, versions=1)


async def test_a_rebuild_suspended_during_a_discard_ends_and_leaves_nothing_behind(
    around: World, projection: Projection
) -> None:
    orders = names(3000)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(len(orders))
    rebuild = Projection(around.environment(), around.tmp / "rebuild.log", ("rebuild",))
    await rebuild.start()

    async def started() -> bool:
        return "is being filled" in rebuild.log.read_text()

    await eventually(started, "filling has started", 30)
    rebuild.freeze()
    status, output = await around.command("rebuild", "--discard")
    assert status == 0, output
    rebuild.thaw()
    async with asyncio.timeout(30):
        assert await rebuild.process.wait() == 1
    assert "Failed: generation 1-2 was dropped" in rebuild.log.read_text()
    assert await around.database[CHECKPOINTS].distinct("generation") == ["1-1"]
    assert not [name for name in await around.database.list_collection_names() if name.endswith("__1-2")]
    status, output = await around.command("rebuild")
    assert status == 0, output
    assert await live(around) == "1-3"


async def test_an_interrupted_rebuild_prints_one_line(around: World, projection: Projection) -> None:
    rebuild = Projection(around.environment(), around.tmp / "rebuild.log", ("rebuild",))
    await rebuild.start()

    async def started() -> bool:
        return "is being filled" in rebuild.log.read_text()

    await eventually(started, "filling has started", 30)
    rebuild.process.send_signal(signal.SIGINT)
    assert await rebuild.process.wait() == 130
    output = rebuild.log.read_text()
    assert "Interrupted. Run the same command again" in output
    assert "Traceback" not in output


async def newer_code(around: World) -> None:
    """Start a service of the next revision."""
    newer = (
        "from services.projection.store import generations; generations.REVISION = 2; "
        "from services.projection.app import main; main()"
    )
    rollout = Projection(around.environment(), around.tmp / "newer.log", code=newer)
    around.projections.append(rollout)
    await rollout.start()
    await rollout.ready()


async def test_a_service_whose_generation_is_dropped_fills_another_from_the_beginning(
    around: World, projection: Projection
) -> None:
    orders = names(3000)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(len(orders))
    await newer_code(around)

    async def started() -> bool:
        return bool(await around.all(ORDERS, "2-1"))

    await eventually(started, "filling has started", 30)
    async with Mongo(around.mongodb, around.database.name) as mongo:
        await Generations(mongo).drop("2-1")

    async def filled() -> bool:
        return len(await around.all(ORDERS, "2-2")) == len(orders)

    await eventually(filled, "another is filled", 30)
    assert sum(part["orderCount"] for part in (await around.all(DAILY_SALES, "2-2")).values()) == len(orders)
    assert not [name for name in await around.database.list_collection_names() if name.endswith("__2-1")]
    assert await around.database[CHECKPOINTS].distinct("generation") == ["1-1", "2-2"]


async def test_another_revision_of_the_code_fills_its_own_generation(
    around: World, projection: Projection
) -> None:
    await around.topics.publish("orders", [("o1", 1, created("o1"))])
    await around.projected(1)
    await newer_code(around)
    await around.topics.publish("orders", [("o2", 1, created("o2"))])
    await around.projected(2)

    async def filled() -> bool:
        return set(await around.all(ORDERS, "2-1")) == {"o1", "o2"}

    await eventually(filled, "the newer code fills its own generation", 30)
    assert await live(around) == "1-1"
    assert set(await around.all(ORDERS, "1-1")) == {"o1", "o2"}
    assert await around.database[FEED].count_documents({}) == 2

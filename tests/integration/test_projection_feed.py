"""Each event of an order is added to the feed once, whichever generations were live meanwhile."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.projection.faults import FencedError
from services.projection.folding.topic_projection import Writes
from services.projection.store.checkpoints import Checkpoint, Checkpoints, Passed
from services.projection.store.connecting import Mongo, Row
from services.projection.store.generations import Generations
from services.projection.store.writing import Batch, DocumentWriter
from shared.documents import FEED, ORDERS, collection, version_id

pytestmark = pytest.mark.integration
PLACES = [("orders", 0), ("orders", 1)]
TO = Passed("a", 3, "d")


@pytest_asyncio.fixture
async def mongo(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Mongo]:
    """Generation 1-1 is live, and the feed holds the first versions of two orders."""
    async with Mongo(mongodb_url, mongodb_database) as connected:
        await Generations(connected).make(PLACES)
        await connected[FEED].insert_many([entry("o1", 1, "before"), entry("o2", 1, "before")])
        yield connected
        await connected.client.drop_database(mongodb_database)


def entry(order: str, version: int, when: str) -> Row:
    return {"_id": version_id(order, version), "orderId": order, "version": version, "when": when}


def applied(order: str, *versions: int) -> Writes:
    """What the live generation writes for an order that is new to it."""
    document = {"_id": order, "version": versions[-1]}
    return Writes(inserted={ORDERS: [document]}, feed=[entry(order, version, "now") for version in versions])


async def fed(mongo: Mongo) -> dict[str, str]:
    return {row["_id"]: row["when"] async for row in mongo[FEED].find({})}


async def starts(mongo: Mongo) -> list[Checkpoint]:
    return [await Checkpoints(mongo, "1-1").load(place) for place in PLACES]


async def test_an_event_already_in_the_feed_is_applied_but_not_added_again(mongo: Mongo) -> None:
    start, _ = await starts(mongo)
    moved = await DocumentWriter(mongo, "1-1").write(PLACES[0], start, TO, None, applied("o1", 1, 2), [])
    assert (await starts(mongo))[0] == moved
    assert await mongo[collection(ORDERS, "1-1")].distinct("_id") == ["o1"]
    assert await fed(mongo) == {"o1:1": "before", "o1:2": "now", "o2:1": "before"}


async def test_batches_that_share_a_transaction_are_all_written(mongo: Mongo) -> None:
    writes = [applied("o1", 1, 2), applied("o3", 1)]
    batches = [
        Batch(place, start, TO, None, changed, [])
        for place, start, changed in zip(PLACES, await starts(mongo), writes, strict=True)
    ]
    await DocumentWriter(mongo, "1-1")._write_together(batches)
    assert [batch.written.result() for batch in batches] == await starts(mongo)
    assert await fed(mongo) == {"o1:1": "before", "o1:2": "now", "o2:1": "before", "o3:1": "now"}


async def test_a_batch_that_another_process_wrote_is_still_fenced(mongo: Mongo) -> None:
    start, _ = await starts(mongo)
    writer = DocumentWriter(mongo, "1-1")
    await writer.write(PLACES[0], start, TO, None, applied("o1", 1, 2), [])
    with pytest.raises(FencedError):
        await writer.write(PLACES[0], start, TO, None, applied("o1", 1, 2, 3), [])
    assert "o1:3" not in await fed(mongo)


async def test_an_order_wrongly_assumed_to_be_new_is_not_written(mongo: Mongo) -> None:
    start, _ = await starts(mongo)
    await mongo[collection(ORDERS, "1-1")].insert_one({"_id": "o1", "version": 1})
    with pytest.raises(FencedError):
        await DocumentWriter(mongo, "1-1").write(PLACES[0], start, TO, None, applied("o1", 1, 2), [])
    assert (await starts(mongo))[0] == start

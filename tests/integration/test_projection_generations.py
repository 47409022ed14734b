"""A generation dropped while it is being filled leaves nothing behind, and its name is not reused."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
import pytest_asyncio

from services.projection.faults import FencedError, TransientError
from services.projection.folding.topic_projection import Writes
from services.projection.rebuilding.switching import CannotSwitchError, switch
from services.projection.store.checkpoints import Checkpoints, Passed
from services.projection.store.connecting import Mongo
from services.projection.store.generations import Generations, IsLiveError
from services.projection.store.writing import DocumentWriter
from shared.documents import CHECKPOINTS, FEED, GENERATIONS, HEARTBEATS, LIVE, ORDERS, PARKED, collection

pytestmark = pytest.mark.integration
PLACE = ("orders", 0)


@pytest_asyncio.fixture
async def mongo(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Mongo]:
    """Generation 1-1 is live, and 1-2 is being filled."""
    async with Mongo(mongodb_url, mongodb_database) as connected:
        for _ in range(2):
            await Generations(connected).make([PLACE])
        yield connected
        await connected.client.drop_database(mongodb_database)


class Interrupted:
    """A database in which something happens after the first collection is dropped."""

    def __init__(self, database: Any, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    def __getitem__(self, name: str) -> Any:
        return self._database[name]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def drop_collection(self, name: str) -> None:
        """Drop the collection."""
        await self._database.drop_collection(name)
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile()


async def drop_and_meanwhile(mongo: Mongo, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Drop 1-2, and run `meanwhile` between two of its collections."""
    database = mongo.database
    mongo.database = cast("Any", Interrupted(database, meanwhile))
    try:
        await Generations(mongo).drop("1-2")
    finally:
        mongo.database = database


async def left_of(mongo: Mongo, generation: str) -> list[str]:
    """The collections that still hold data of a generation."""
    names = await mongo.database.list_collection_names()
    rows = [
        name
        for name in (CHECKPOINTS, PARKED)
        if await mongo[name].count_documents({"generation": generation})
    ]
    return [name for name in names if name.endswith(f"__{generation}")] + rows


async def test_a_batch_written_while_its_generation_is_dropped_is_fenced(
    mongo: Mongo, mongodb_url: str, mongodb_database: str
) -> None:
    async with Mongo(mongodb_url, mongodb_database) as other:
        start = await Checkpoints(other, "1-2").load(PLACE)
        writes = Writes(inserted={ORDERS: [{"_id": "o1"}]})

        async def write() -> None:
            with pytest.raises(FencedError):
                await DocumentWriter(other, "1-2").write(PLACE, start, Passed("a", 0, "d"), None, writes, [])

        await drop_and_meanwhile(mongo, write)
    assert await left_of(mongo, "1-2") == []


async def test_no_checkpoint_is_created_in_a_generation_that_is_being_dropped(
    mongo: Mongo, mongodb_url: str, mongodb_database: str
) -> None:
    async with Mongo(mongodb_url, mongodb_database) as other:
        filling = Checkpoints(other, "1-2")

        async def look() -> None:
            with pytest.raises(TransientError):
                await filling.load(PLACE)

        await drop_and_meanwhile(mongo, look)
        await look()
        with pytest.raises(TransientError):
            await filling.make([("orders", 1)])
    assert await left_of(mongo, "1-2") == []


async def test_a_number_is_never_reused(mongo: Mongo) -> None:
    generations = Generations(mongo)
    await generations.drop("1-2")
    assert await generations.make([PLACE]) == "1-3"
    await generations.drop("1-3")
    assert await generations.make([PLACE]) == "1-4"


class Suspended(Generations):
    """Suspended between choosing a number and using it, while another generation is created and dropped."""

    async def _next_number(self) -> int:
        number = await super()._next_number()
        others = Generations(self._mongo)
        await others.drop(await others.make([PLACE]))
        return number


async def test_a_suspended_process_does_not_take_the_number_of_a_dropped_generation(mongo: Mongo) -> None:
    with pytest.raises(TransientError):
        await Suspended(mongo).make([PLACE])
    assert await mongo[GENERATIONS].distinct("_id") == ["1-1", "1-2", LIVE]


@pytest.mark.parametrize("what", [CHECKPOINTS, collection(ORDERS, "1-3")])
async def test_what_a_crash_left_of_a_generation_does_not_block_a_new_one(mongo: Mongo, what: str) -> None:
    left = {"_id": "1-3|orders|0", "generation": "1-3", "topic": "orders", "partition": 0, "offset": 7}
    await mongo[what].insert_one(left)
    new = await Generations(mongo).make([PLACE])
    assert (await Checkpoints(mongo, new).load(PLACE)).offset == -1
    assert await mongo[collection(ORDERS, new)].count_documents({}) == 0
    assert await left_of(mongo, "1-3") == []


async def test_a_live_generation_is_not_dropped_and_a_dropped_one_does_not_become_live(mongo: Mongo) -> None:
    generations = Generations(mongo)
    with pytest.raises(IsLiveError):
        await generations.drop("1-1")
    assert await generations.keeps("1-1")
    await mongo[GENERATIONS].update_one({"_id": "1-2"}, {"$set": {"dropping": True}})
    with pytest.raises(CannotSwitchError):
        await switch(mongo, "1-1", "1-2")


async def test_generations_created_one_after_another_are_all_complete(mongo: Mongo) -> None:
    generations = Generations(mongo)
    made = [await generations.make([PLACE]) for _ in range(5)]
    assert made == [f"1-{number}" for number in range(3, 8)]
    for generation in made:
        assert (await Checkpoints(mongo, generation).load(PLACE)).offset == -1


async def test_the_feed_is_kept_for_a_day_and_heartbeats_for_an_hour(mongo: Mongo) -> None:
    for name, field, seconds in ((FEED, "at", 24 * 3600), (HEARTBEATS, "t", 3600)):
        indexes = (await mongo[name].index_information()).values()
        expiring = {each["key"][0][0]: each.get("expireAfterSeconds") for each in indexes}
        assert expiring[field] == seconds

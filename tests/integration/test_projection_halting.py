"""Halts: no batch passes one, none outlasts its process, and a switch happens only where both are equal."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from services.projection.faults import FencedError, HaltedError
from services.projection.folding.topic_projection import Writes
from services.projection.rebuilding.halting import CannotHaltError, halted
from services.projection.rebuilding.switching import CannotSwitchError, switch
from services.projection.store.checkpoints import Checkpoint, Checkpoints, Passed
from services.projection.store.connecting import Mongo
from services.projection.store.generations import Generations
from services.projection.store.writing import DocumentWriter
from shared.documents import CHECKPOINTS

pytestmark = pytest.mark.integration
PLACE = ("orders", 0)


@pytest_asyncio.fixture
async def mongo(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Mongo]:
    """Generation 1-1 is live, and 1-2 and 1-3 are not."""
    async with Mongo(mongodb_url, mongodb_database) as connected:
        for _ in range(3):
            await Generations(connected).make([PLACE])
        yield connected
        await connected.client.drop_database(mongodb_database)


async def start_of(mongo: Mongo, generation: str) -> Checkpoint:
    return await Checkpoints(mongo, generation).load(PLACE)


async def write(
    mongo: Mongo, generation: str, start: Checkpoint, offset: int, digest: str = "d"
) -> Checkpoint:
    to = Passed("a", offset, digest)
    return await DocumentWriter(mongo, generation).write(PLACE, start, to, None, Writes(), [])


async def halt(mongo: Mongo, at: int, seconds: float) -> Checkpoint:
    """Halts 1-1 for some more seconds; returns its checkpoint."""
    fields = {"haltAt": at, "haltUntil": datetime.now(UTC) + timedelta(seconds=seconds)}
    await mongo[CHECKPOINTS].update_one({"generation": "1-1"}, {"$set": fields})
    return await start_of(mongo, "1-1")


async def test_a_batch_may_reach_the_offset_of_a_halt_but_not_pass_it(mongo: Mongo) -> None:
    start = await halt(mongo, 3, seconds=60)
    assert not start.is_halted(datetime.now(UTC))
    reached = await write(mongo, "1-1", start, 3)
    assert reached.is_halted(datetime.now(UTC))
    with pytest.raises(HaltedError):
        await write(mongo, "1-1", reached, 4)


async def test_a_halt_whose_process_died_ends_by_itself(mongo: Mongo) -> None:
    start = await halt(mongo, -1, seconds=-1)
    assert not start.is_halted(datetime.now(UTC))
    assert (await write(mongo, "1-1", start, 4)).offset == 4


async def test_generations_at_different_records_are_not_halted_at_the_same_place(
    mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.projection.rebuilding.halting._LONGEST_SECONDS", 1.0)
    for generation, digest in (("1-1", "one"), ("1-2", "another")):
        await write(mongo, generation, await start_of(mongo, generation), 3, digest)
    with pytest.raises(CannotHaltError):
        async with halted(mongo, ("1-1", "1-2")):
            pass


async def test_a_batch_that_began_before_a_switch_is_fenced(mongo: Mongo) -> None:
    starts = {generation: await start_of(mongo, generation) for generation in ("1-1", "1-2")}
    await switch(mongo, "1-1", "1-2")
    for generation, start in starts.items():
        with pytest.raises(FencedError):
            await write(mongo, generation, start, 3)


async def test_only_the_live_generation_is_switched_from(mongo: Mongo) -> None:
    with pytest.raises(CannotSwitchError, match="no longer live"):
        await switch(mongo, "1-2", "1-3")
    assert (await start_of(mongo, "1-1")).live
    assert not (await start_of(mongo, "1-3")).live

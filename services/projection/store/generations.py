"""Generations of the read models' collections, and the pointer to the live one."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo import DESCENDING
from pymongo.errors import DuplicateKeyError

from services.projection.faults import ProjectionError, TransientError
from services.projection.store.checkpoints import Place, new_checkpoint
from services.projection.store.connecting import Mongo, Row, translated
from services.projection.store.layout import drop_collections, make_collections
from services.projection.store.transactions import transaction
from shared.documents import CHECKPOINTS, GENERATIONS, LIVE, PARKED, READ_MODELS, collection

REVISION: Final = 1
"""The revision of the read models' code. Raise it when they change: documents of two revisions never mix."""

_KEPT: Final[Row] = {"_id": {"$ne": LIVE}, "dropping": {"$ne": True}}
"""Generations that are not being dropped."""


class IsLiveError(ProjectionError):
    """The generation is live and cannot be dropped."""


class Generations:
    """Creates, finds and drops generations."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def pointer(self) -> Row | None:
        """The pointer's document; None before the first generation."""
        with translated():
            return await self._mongo[GENERATIONS].find_one({"_id": LIVE})

    async def of_this_revision(self, places: Iterable[Place]) -> str:
        """The generation to fill: the live one if it has this revision, otherwise the newest that has.

        Creates one if there is none. The very first generation is live immediately.
        """
        pointer = await self.pointer()
        if pointer is not None and pointer["revision"] == REVISION:
            generation: str = pointer["generation"]
            return generation
        with translated():
            newest = await (
                self._mongo[GENERATIONS]
                .find({**_KEPT, "revision": REVISION})
                .sort("number", DESCENDING)
                .to_list(1)
            )
        if newest:
            found: str = newest[0]["_id"]
            return found
        return await self.make(places)

    async def make(self, places: Iterable[Place]) -> str:
        """Create the next generation of this revision, with a checkpoint for each of `places`."""
        with translated():
            while True:
                number = await self._next_number()
                generation = f"{REVISION}-{number}"
                entry = {"_id": generation, "revision": REVISION, "number": number}
                try:
                    if not await self._is_left_over(generation):
                        await make_collections(self._mongo, generation)
                        async with transaction(self._mongo) as session:
                            await self._register(session, entry, places)
                        return generation
                    # registered first, so that no other process can be using it
                    await self._mongo[GENERATIONS].insert_one({**entry, "dropping": True})
                except DuplicateKeyError:
                    return generation  # another process created it concurrently
                await self.drop(generation)

    async def ours(self) -> list[str]:
        """The generations of this revision that are not being dropped."""
        with translated():
            rows = await self._mongo[GENERATIONS].find(_KEPT).to_list(None)
        return [row["_id"] for row in rows if row["revision"] == REVISION]

    async def keeps(self, generation: str) -> bool:
        """Whether the generation exists and is not being dropped."""
        wanted = {"_id": generation, "dropping": {"$ne": True}}
        with translated():
            return await self._mongo[GENERATIONS].find_one(wanted) is not None

    async def unfinished(self, live: str) -> str | None:
        """The newest generation of this revision that is newer than the live one and not the previous one."""
        with translated():
            known = await self._mongo[GENERATIONS].find(_KEPT).to_list(None)
            pointer = await self._mongo[GENERATIONS].find_one({"_id": LIVE})
        kept = {live, pointer["previous"]} if pointer is not None else {live}
        order = {row["_id"]: (row["revision"], row["number"]) for row in known}
        newer = [
            name
            for name, place in order.items()
            if name not in kept and place[0] == REVISION and place > order.get(live, (0, 0))
        ]
        return max(newer, key=lambda name: order[name], default=None)

    async def drop_all_but(self, *kept: str) -> None:
        """Drop all other generations, except those of newer revisions, which newer code may be filling."""
        with translated():
            rows = await self._mongo[GENERATIONS].find({"_id": {"$ne": LIVE}}).to_list(None)
        for row in rows:
            if row["_id"] not in kept and row["revision"] <= REVISION:
                await self.drop(row["_id"])

    async def half_dropped(self) -> list[str]:
        """The generations that an interrupted `drop` left behind."""
        with translated():
            rows = await self._mongo[GENERATIONS].find({"dropping": True}).to_list(None)
        return [row["_id"] for row in rows]

    async def drop(self, generation: str) -> None:
        """Drop a generation; raises `IsLiveError` if it is live. Can be repeated after an interruption.

        The generation is marked first, so that no process resumes it or creates a checkpoint in it. Without
        checkpoints no batch is written, so none can re-create a dropped collection.
        """
        with translated():
            async with transaction(self._mongo) as session:
                await self._mark(session, generation)
            await self._mongo[CHECKPOINTS].delete_many({"generation": generation})
            await drop_collections(self._mongo, generation)
            await self._mongo[PARKED].delete_many({"generation": generation})
            await self._mongo[GENERATIONS].delete_one({"_id": generation})

    async def _mark(self, session: AsyncIOMotorClientSession, generation: str) -> None:
        """Mark the generation as being dropped, and its number as permanently used."""
        generations = self._mongo[GENERATIONS]
        row = await generations.find_one({"_id": generation}, session=session)
        if row is None:
            return
        await generations.update_one({"_id": generation}, {"$set": {"dropping": True}}, session=session)
        # always written, so that a concurrent switch to this generation conflicts
        used = {"$max": {f"numbers.{row['revision']}": row.get("number", 0)}, "$inc": {"touched": 1}}
        await generations.update_one({"_id": LIVE}, used, session=session)
        if await generations.find_one({"_id": LIVE, "generation": generation}, session=session) is not None:
            raise IsLiveError(f"generation {generation} is live")

    async def _next_number(self) -> int:
        """A number never used in this revision: a suspended process must not find its number reused."""
        rows = await self._mongo[GENERATIONS].find({"revision": REVISION}).to_list(None)
        numbers = [row.get("number", 0) for row in rows]
        highest: int = max([_dropped(await self.pointer()), *numbers])
        return highest + 1

    async def _is_left_over(self, generation: str) -> bool:
        """Whether a crash or an earlier version of this code left data of the generation behind."""
        if await self._mongo[CHECKPOINTS].find_one({"generation": generation}) is not None:
            return True
        for read_model in READ_MODELS:
            if await self._mongo[collection(read_model, generation)].find_one({}) is not None:
                return True
        return False

    async def _register(
        self, session: AsyncIOMotorClientSession, entry: Row, places: Iterable[Place]
    ) -> None:
        generations, generation = self._mongo[GENERATIONS], entry["_id"]
        pointer = await generations.find_one({"_id": LIVE}, session=session)
        if _dropped(pointer) >= entry["number"]:
            raise TransientError(f"generation {generation} was dropped concurrently")
        await generations.insert_one({**entry, "createdAt": datetime.now(UTC)}, session=session)
        if pointer is None:
            await generations.insert_one(
                {"_id": LIVE, **pointing_at(generation, REVISION, None)}, session=session
            )
        checkpoints = [new_checkpoint(generation, place, live=pointer is None) for place in places]
        if checkpoints:
            await self._mongo[CHECKPOINTS].insert_many(checkpoints, session=session)


def _dropped(pointer: Row | None) -> int:
    """The highest number of a dropped generation of this revision; 0 if there is none."""
    numbers = {} if pointer is None else pointer.get("numbers", {})
    highest: int = numbers.get(str(REVISION), 0)
    return highest


def pointing_at(generation: str, revision: int, previous: str | None) -> Row:
    """The pointer's fields."""
    return {
        "generation": generation,
        "revision": revision,
        "previous": previous,
        "readModels": dict.fromkeys(READ_MODELS, generation),
        "switchedAt": datetime.now(UTC),
    }

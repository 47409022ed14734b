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
"""Of the read models' code. Raised when they change, so that documents of two revisions never mix."""

_KEPT: Final[Row] = {"_id": {"$ne": LIVE}, "dropping": {"$ne": True}}
"""The generations that are there, and whole."""


class IsLiveError(ProjectionError):
    """A generation is live, and so cannot be dropped."""


class Generations:
    """Makes, finds and switches generations."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def pointer(self) -> Row | None:
        """The pointer's document; None before the first generation."""
        with translated():
            return await self._mongo[GENERATIONS].find_one({"_id": LIVE})

    async def of_this_revision(self, places: Iterable[Place]) -> str:
        """The generation that this code works for: the live one if it is of its revision, else its newest.

        Makes one where there is none; it is live when it is the first of all.
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
        """Make the next generation of this revision, with a checkpoint for each of `places`."""
        with translated():
            while True:
                number = await self._next_number()
                generation = f"{REVISION}-{number}"
                entry = {"_id": generation, "revision": REVISION, "number": number}
                try:
                    if not await self._is_left_over(generation):
                        await make_collections(self._mongo, generation)
                        async with transaction(self._mongo) as session:
                            await self._enter(session, entry, places)
                        return generation
                    # entered first, so that it is really nobody's
                    await self._mongo[GENERATIONS].insert_one({**entry, "dropping": True})
                except DuplicateKeyError:
                    return generation  # somebody else made it at the same moment
                await self.drop(generation)

    async def ours(self) -> list[str]:
        """The generations that are kept and of this revision."""
        with translated():
            rows = await self._mongo[GENERATIONS].find(_KEPT).to_list(None)
        return [row["_id"] for row in rows if row["revision"] == REVISION]

    async def keeps(self, generation: str) -> bool:
        """Whether it is there, and whole."""
        wanted = {"_id": generation, "dropping": {"$ne": True}}
        with translated():
            return await self._mongo[GENERATIONS].find_one(wanted) is not None

    async def unfinished(self, live: str) -> str | None:
        """The newest generation of this revision that came after the live one but never was."""
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
        """Drop the other generations, but none of newer code, which may be filling."""
        with translated():
            rows = await self._mongo[GENERATIONS].find({"_id": {"$ne": LIVE}}).to_list(None)
        for row in rows:
            if row["_id"] not in kept and row["revision"] <= REVISION:
                await self.drop(row["_id"])

    async def half_dropped(self) -> list[str]:
        """The generations of which an interrupted `drop` has left something."""
        with translated():
            rows = await self._mongo[GENERATIONS].find({"dropping": True}).to_list(None)
        return [row["_id"] for row in rows]

    async def drop(self, generation: str) -> None:
        """Drop a generation; `IsLiveError` when it is live. May be repeated when it was interrupted.

        It is marked first: nobody takes up what is left of it, nor makes a checkpoint in it. Without
        checkpoints no batch is written, so that none makes a collection anew that was dropped.
        """
        with translated():
            async with transaction(self._mongo) as session:
                await self._mark(session, generation)
            await self._mongo[CHECKPOINTS].delete_many({"generation": generation})
            await drop_collections(self._mongo, generation)
            await self._mongo[PARKED].delete_many({"generation": generation})
            await self._mongo[GENERATIONS].delete_one({"_id": generation})

    async def _mark(self, session: AsyncIOMotorClientSession, generation: str) -> None:
        """Mark it as being dropped, and its number as used for ever."""
        generations = self._mongo[GENERATIONS]
        row = await generations.find_one({"_id": generation}, session=session)
        if row is None:
            return
        await generations.update_one({"_id": generation}, {"$set": {"dropping": True}}, session=session)
        # written in any case: a switch to it at this moment must meet this
        used = {"$max": {f"numbers.{row['revision']}": row.get("number", 0)}, "$inc": {"touched": 1}}
        await generations.update_one({"_id": LIVE}, used, session=session)
        if await generations.find_one({"_id": LIVE, "generation": generation}, session=session) is not None:
            raise IsLiveError(f"generation {generation} is live")

    async def _next_number(self) -> int:
        """One that no generation of this revision has or had: whoever slept must not meet another's."""
        rows = await self._mongo[GENERATIONS].find({"revision": REVISION}).to_list(None)
        numbers = [row.get("number", 0) for row in rows]
        highest: int = max([_dropped(await self.pointer()), *numbers])
        return highest + 1

    async def _is_left_over(self, generation: str) -> bool:
        """Whether there is something of a generation, by a crash or an earlier version of this code."""
        if await self._mongo[CHECKPOINTS].find_one({"generation": generation}) is not None:
            return True
        for read_model in READ_MODELS:
            if await self._mongo[collection(read_model, generation)].find_one({}) is not None:
                return True
        return False

    async def _enter(self, session: AsyncIOMotorClientSession, entry: Row, places: Iterable[Place]) -> None:
        generations, generation = self._mongo[GENERATIONS], entry["_id"]
        pointer = await generations.find_one({"_id": LIVE}, session=session)
        if _dropped(pointer) >= entry["number"]:
            raise TransientError(f"generation {generation} was dropped meanwhile")
        await generations.insert_one({**entry, "createdAt": datetime.now(UTC)}, session=session)
        if pointer is None:
            await generations.insert_one(
                {"_id": LIVE, **pointing_at(generation, REVISION, None)}, session=session
            )
        checkpoints = [new_checkpoint(generation, place, live=pointer is None) for place in places]
        if checkpoints:
            await self._mongo[CHECKPOINTS].insert_many(checkpoints, session=session)


def _dropped(pointer: Row | None) -> int:
    """The highest number of a generation of this revision that was dropped; 0 for none."""
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

"""Generations of the read models' collections, and the pointer to the live one."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import CollectionInvalid, DuplicateKeyError, OperationFailure

from services.projection.store.checkpoints import Place, new_checkpoint
from services.projection.store.connecting import Mongo, Row, translated
from services.projection.store.transactions import transaction
from shared.documents import (
    CHECKPOINTS,
    FEED,
    FEED_SECONDS,
    GENERATIONS,
    HEARTBEATS,
    HEARTBEATS_SECONDS,
    INDEXES,
    LIVE,
    ORDER_HISTORY,
    PARKED,
    READ_MODELS,
    collection,
)

REVISION: Final = 1
"""Of the read models' code. Raised when they change, so that documents of two revisions never mix."""

_EXISTS: Final = 48
_KEPT: Final[Row] = {"_id": {"$ne": LIVE}, "dropping": {"$ne": True}}
"""The generations that are there, and whole."""
_log = logging.getLogger(__name__)
_SHARED_INDEXES: Final[dict[str, list[IndexModel]]] = {
    FEED: [IndexModel([("at", ASCENDING)], expireAfterSeconds=FEED_SECONDS)],
    HEARTBEATS: [IndexModel([("t", DESCENDING)], expireAfterSeconds=HEARTBEATS_SECONDS)],
    CHECKPOINTS: [IndexModel([("generation", ASCENDING)])],
    PARKED: [IndexModel([("generation", ASCENDING), ("topic", ASCENDING), ("partition", ASCENDING)])],
    GENERATIONS: [],
}
_CLUSTERED: Final[Row] = {"clusteredIndex": {"key": {"_id": 1}, "unique": True}}
"""Documents and their `_id` in one tree instead of two: an event takes a twentieth less time.

Only for what is read by one `_id` or a range of it; for several ids (`$in`) the server (6.0) reads all.
https://www.mongodb.com/docs/manual/core/clustered-collections/
"""


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
            used = await self._mongo[GENERATIONS].find({"revision": REVISION}).to_list(None)
            number = 1 + max((row.get("number", 0) for row in used), default=0)
            generation = f"{REVISION}-{number}"
            await self._make_collections(generation)
            with suppress(DuplicateKeyError):  # somebody else made it at the same moment
                async with transaction(self._mongo) as session:
                    await self._enter(session, generation, number, places)
        return generation

    async def ours(self) -> list[str]:
        """The generations that are kept and of this revision."""
        with translated():
            rows = await self._mongo[GENERATIONS].find(_KEPT).to_list(None)
        return [row["_id"] for row in rows if row["revision"] == REVISION]

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
        """Drop a generation that is not live. May be repeated when it was interrupted.

        It is marked first: nobody takes up what is left of it, nor gives its name to another.
        """
        with translated():
            await self._mongo[GENERATIONS].update_one({"_id": generation}, {"$set": {"dropping": True}})
            for read_model in READ_MODELS:
                await self._mongo.database.drop_collection(collection(read_model, generation))
            for name in (CHECKPOINTS, PARKED):
                await self._mongo[name].delete_many({"generation": generation})
            await self._mongo[GENERATIONS].delete_one({"_id": generation})

    async def _enter(
        self, session: AsyncIOMotorClientSession, generation: str, number: int, places: Iterable[Place]
    ) -> None:
        generations, now = self._mongo[GENERATIONS], datetime.now(UTC)
        first = await generations.find_one({"_id": LIVE}, session=session) is None
        entry = {"_id": generation, "revision": REVISION, "number": number, "createdAt": now}
        await generations.insert_one(entry, session=session)
        if first:
            await generations.insert_one(
                {"_id": LIVE, **pointing_at(generation, REVISION, None)}, session=session
            )
        checkpoints = [new_checkpoint(generation, place, live=first) for place in places]
        if checkpoints:
            await self._mongo[CHECKPOINTS].insert_many(checkpoints, session=session)

    async def _make_collections(self, generation: str) -> None:
        """Before any transaction writes to them: one that makes a collection is slow, and easily refused."""
        for read_model in READ_MODELS:
            indexes = [IndexModel(list(keys.items())) for keys in INDEXES.get(read_model, ())]
            options = _CLUSTERED if read_model == ORDER_HISTORY else {}
            await self._make_collection(collection(read_model, generation), indexes, options)
        for name, indexes in _SHARED_INDEXES.items():
            await self._make_collection(name, indexes, _CLUSTERED if name == FEED else {})

    async def _make_collection(self, name: str, indexes: list[IndexModel], options: Row) -> None:
        try:
            await self._mongo.database.create_collection(name, **options)
        except CollectionInvalid:
            _log.debug("%s is there already", name)
        except OperationFailure as error:
            if error.code != _EXISTS:
                raise
        if indexes:
            await self._mongo[name].create_indexes(indexes)


def pointing_at(generation: str, revision: int, previous: str | None) -> Row:
    """The pointer's fields."""
    return {
        "generation": generation,
        "revision": revision,
        "previous": previous,
        "readModels": dict.fromkeys(READ_MODELS, generation),
        "switchedAt": datetime.now(UTC),
    }

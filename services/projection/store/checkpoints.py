"""Checkpoints: how far each partition was read, in the transaction of what was read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from pymongo import ReturnDocument

from services.projection.faults import FencedError, HaltedError
from services.projection.store.connecting import Mongo, Row, translated
from services.projection.store.transactions import Transaction, transaction
from shared.documents import CHECKPOINTS, GENERATIONS, LIVE, checkpoint_id

Place = tuple[str, int]
"""A topic and a partition."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The last record passed (`offset` -1: none), and the count of writes by which a rival is noticed."""

    incarnation: str
    offset: int
    digest: str
    writes: int
    live: bool
    halt_at: int | None = None
    halt_until: datetime | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """From a document of `checkpoints`."""
        return cls(
            row["incarnation"],
            row["offset"],
            row["digest"],
            row["writes"],
            row["live"],
            row.get("haltAt"),
            row.get("haltUntil"),
        )


class Checkpoints:
    """The checkpoints of one generation."""

    def __init__(self, mongo: Mongo, generation: str) -> None:
        self._mongo = mongo
        self.generation = generation

    async def load(self, place: Place) -> Checkpoint:
        """The partition's checkpoint, made now if there is none."""
        with translated():
            row = await self._mongo[CHECKPOINTS].find_one({"_id": self._id(place)})
            if row is None:
                await self.make([place])
                row = await self._mongo[CHECKPOINTS].find_one({"_id": self._id(place)})
        assert row is not None
        return Checkpoint.of(row)

    async def all(self) -> dict[Place, Checkpoint]:
        """Every partition's checkpoint."""
        with translated():
            rows = await self._mongo[CHECKPOINTS].find({"generation": self.generation}).to_list(None)
        return {(row["topic"], row["partition"]): Checkpoint.of(row) for row in rows}

    async def make(self, places: Iterable[Place]) -> None:
        """Make those that are missing, with the live mark that the pointer says."""
        with translated():
            async with transaction(self._mongo) as session:
                # written, not only read: a switch at this moment must not leave them with the old mark
                pointer = await self._mongo[GENERATIONS].find_one_and_update(
                    {"_id": LIVE}, {"$inc": {"touched": 1}}, session=session
                )
                live = pointer is not None and pointer["generation"] == self.generation
                for place in places:
                    new = new_checkpoint(self.generation, place, live=live)
                    await self._mongo[CHECKPOINTS].update_one(
                        {"_id": new.pop("_id")}, {"$setOnInsert": new}, upsert=True, session=session
                    )

    def move(
        self,
        transaction: Transaction,
        place: Place,
        start: Checkpoint,
        to: tuple[str, int, str],
        event_at: datetime | None,
    ) -> Checkpoint:
        """Move it in the transaction, from the value that the batch started from.

        `to` is incarnation, offset and digest of the last record passed.

        Raises `FencedError` when it is elsewhere, `HaltedError` when it may not go that far.
        """
        now = datetime.now(UTC)
        incarnation, offset, digest = to
        free = [{"haltAt": None}, {"haltAt": {"$gte": offset}}, {"haltUntil": {"$lt": now}}]
        fields: Row = {"incarnation": incarnation, "offset": offset, "digest": digest, "updatedAt": now}
        if event_at is not None:
            fields["eventAt"] = event_at
        row: Row | None = transaction[CHECKPOINTS].find_one_and_update(
            {"_id": self._id(place), "writes": start.writes, "$or": free},
            {"$set": fields, "$inc": {"writes": 1}},
            return_document=ReturnDocument.AFTER,
            session=transaction.session,
        )
        if row is not None:
            return Checkpoint.of(row)
        found = transaction[CHECKPOINTS].find_one(
            {"_id": self._id(place), "writes": start.writes}, session=transaction.session
        )
        if found is not None and found.get("haltAt") is not None:
            raise HaltedError(found["haltAt"])
        raise FencedError

    def _id(self, place: Place) -> str:
        return checkpoint_id(self.generation, *place)


def new_checkpoint(generation: str, place: Place, *, live: bool) -> Row:
    """A checkpoint that has passed nothing."""
    topic, partition = place
    return {
        "_id": checkpoint_id(generation, topic, partition),
        "generation": generation,
        "topic": topic,
        "partition": partition,
        "incarnation": "",
        "offset": -1,
        "digest": "",
        "writes": 0,
        "live": live,
        "updatedAt": datetime.now(UTC),
    }

"""Checkpoints: how far each partition was read, written in the same transaction as the documents."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from services.projection.faults import FencedError, HaltedError, TransientError
from services.projection.store.connecting import Mongo, Row, translated
from services.projection.store.pipelining import Command, Reply
from services.projection.store.transactions import Transaction, transaction
from shared.documents import CHECKPOINTS, GENERATIONS, LIVE, checkpoint_id

Place = tuple[str, int]
"""A topic and a partition."""


class Passed(NamedTuple):
    """The last record passed: its topic's incarnation, offset (-1: none) and digest."""

    incarnation: str
    offset: int
    digest: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The last record passed (`offset` -1: none), and a count of writes that detects concurrent writers."""

    incarnation: str
    offset: int
    digest: str
    writes: int
    live: bool
    halt_at: int | None = None
    halt_until: datetime | None = None

    def is_halted(self, now: datetime) -> bool:
        """Whether it has reached the offset of a halt in effect."""
        return (
            self.halt_at is not None
            and self.halt_until is not None
            and self.halt_until > now
            and self.offset >= self.halt_at
        )

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


@dataclass(frozen=True, slots=True)
class Move:
    """A checkpoint's move from `start` to the last record passed; `event_at` is that record's time."""

    place: Place
    start: Checkpoint
    to: Passed
    event_at: datetime | None

    @property
    def moved(self) -> Checkpoint:
        """The resulting checkpoint. Its live mark never changes without a write being counted."""
        return replace(
            self.start,
            incarnation=self.to.incarnation,
            offset=self.to.offset,
            digest=self.to.digest,
            writes=self.start.writes + 1,
        )


class Checkpoints:
    """The checkpoints of one generation."""

    def __init__(self, mongo: Mongo, generation: str) -> None:
        self._mongo = mongo
        self.generation = generation

    async def load(self, place: Place) -> Checkpoint:
        """The partition's checkpoint, created if there is none. Raises `TransientError` like `make`."""
        with translated():
            row = await self._mongo[CHECKPOINTS].find_one({"_id": self._id(place)})
            if row is None:
                await self.make([place])
                row = await self._mongo[CHECKPOINTS].find_one({"_id": self._id(place)})
        if row is None:
            raise TransientError(f"generation {self.generation} is being dropped")
        return Checkpoint.of(row)

    async def all(self) -> dict[Place, Checkpoint]:
        """Every partition's checkpoint."""
        with translated():
            rows = await self._mongo[CHECKPOINTS].find({"generation": self.generation}).to_list(None)
        return {(row["topic"], row["partition"]): Checkpoint.of(row) for row in rows}

    async def make(self, places: Iterable[Place]) -> None:
        """Create those that are missing, with the live mark given by the pointer.

        Raises `TransientError` if the generation was dropped: its process has to switch to another.
        """
        with translated():
            async with transaction(self._mongo) as session:
                # written, not only read: a concurrent drop must not miss these checkpoints
                kept = await self._mongo[GENERATIONS].update_one(
                    {"_id": self.generation, "dropping": {"$ne": True}},
                    {"$inc": {"touched": 1}},
                    session=session,
                )
                if not kept.matched_count:
                    raise TransientError(f"generation {self.generation} was dropped")
                # written, not only read: a concurrent switch must not leave them with the old mark
                pointer = await self._mongo[GENERATIONS].find_one_and_update(
                    {"_id": LIVE}, {"$inc": {"touched": 1}}, session=session
                )
                live = pointer is not None and pointer["generation"] == self.generation
                for place in places:
                    new = new_checkpoint(self.generation, place, live=live)
                    await self._mongo[CHECKPOINTS].update_one(
                        {"_id": new.pop("_id")}, {"$setOnInsert": new}, upsert=True, session=session
                    )

    def moving(self, moves: Sequence[Move]) -> Command:
        """The command that moves the checkpoints, each from where its batch started."""
        now = datetime.now(UTC)
        updates = [self._update(move, now) for move in moves]
        return {"update": CHECKPOINTS, "ordered": False, "updates": updates}

    def _update(self, move: Move, now: datetime) -> Row:
        free = [{"haltAt": None}, {"haltAt": {"$gte": move.to.offset}}, {"haltUntil": {"$lt": now}}]
        fields: Row = {
            "incarnation": move.to.incarnation,
            "offset": move.to.offset,
            "digest": move.to.digest,
            "updatedAt": now,
        }
        if move.event_at is not None:
            fields["eventAt"] = move.event_at
        return {
            "q": {"_id": self._id(move.place), "writes": move.start.writes, "$or": free},
            "u": {"$set": fields, "$inc": {"writes": 1}},
        }

    def check(self, transaction: Transaction, moves: Sequence[Move], reply: Reply) -> None:
        """Raise `FencedError` unless all moved; `HaltedError` if there is only one and a halt stops it."""
        if reply["n"] == len(moves):
            return
        if len(moves) == 1:
            wanted = {"_id": self._id(moves[0].place), "writes": moves[0].start.writes}
            found = transaction[CHECKPOINTS].find_one(wanted, session=transaction.session)
            if found is not None and found.get("haltAt") is not None:
                raise HaltedError(found["haltAt"])
        raise FencedError

    def _id(self, place: Place) -> str:
        return checkpoint_id(self.generation, *place)


def new_checkpoint(generation: str, place: Place, *, live: bool) -> Row:
    """A checkpoint before the first record."""
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

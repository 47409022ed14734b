"""Checkpoints: how far each partition was read, in the transaction of what was read."""

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
    """The last record that was passed: its topic's incarnation, its offset (-1: none), its digest."""

    incarnation: str
    offset: int
    digest: str


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

    def is_halted(self, now: datetime) -> bool:
        """Whether it stands where a switch of generations made it halt."""
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
    """A checkpoint's way from `start` to the last record passed; `event_at` is that record's time."""

    place: Place
    start: Checkpoint
    to: Passed
    event_at: datetime | None

    @property
    def moved(self) -> Checkpoint:
        """The checkpoint as it is then. Its live mark never changes without a write being counted."""
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
        """The partition's checkpoint, made now if there is none. `TransientError` as `make` does."""
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
        """Make those that are missing, with the live mark that the pointer says.

        `TransientError` when the generation was dropped: whoever fills it has to look for another.
        """
        with translated():
            async with transaction(self._mongo) as session:
                # written, not only read: a drop at this moment must not miss them
                kept = await self._mongo[GENERATIONS].update_one(
                    {"_id": self.generation, "dropping": {"$ne": True}},
                    {"$inc": {"touched": 1}},
                    session=session,
                )
                if not kept.matched_count:
                    raise TransientError(f"generation {self.generation} was dropped")
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

    def moving(self, moves: Sequence[Move]) -> Command:
        """Moves them, each from the value that its batch started from."""
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
        """Raise `FencedError` unless all moved; `HaltedError` when a single one may not go that far."""
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

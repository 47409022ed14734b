"""Writes a batch: documents, counts, feed, marks and the checkpoint, in one transaction."""

import asyncio
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bson.codec_options import CodecOptions
from pymongo.errors import BulkWriteError, DuplicateKeyError

from services.projection.faults import FencedError, HaltedError, TransientError
from services.projection.folding.parking import Parked
from services.projection.folding.topic_projection import Documents, Writes
from services.projection.store import marks
from services.projection.store.changes import changes
from services.projection.store.checkpoints import Checkpoint, Checkpoints, Move, Passed, Place
from services.projection.store.connecting import Mongo, translated
from services.projection.store.feed import missing_from_feed
from services.projection.store.transactions import Transaction, transact
from shared.documents import (
    CUSTOMERS,
    FEED,
    GENERATIONS,
    LIVE,
    collection,
)

_DUPLICATE_KEY: Final = 11000
_SHARED_SIZE: Final = 200
"""Approximate limit of documents in a transaction shared by several partitions."""
_CONCURRENT: Final = 2
"""Concurrent heavy transactions. With more, each takes longer, and the server aborts the slowest."""


@dataclass(slots=True, eq=False)
class Batch:
    """The result of one partition's records, waiting to be written."""

    place: Place
    start: Checkpoint
    to: Passed
    event_at: datetime | None
    writes: Writes
    parked: list[Parked]
    written: "asyncio.Future[Checkpoint]" = field(default_factory=lambda: asyncio.Future())

    @property
    def weight(self) -> int:
        """The approximate number of documents written."""
        inserted = sum(map(len, self.writes.inserted.values()))
        return inserted + sum(map(len, self.writes.replaced.values())) + len(self.writes.feed)

    def succeed(self, checkpoint: Checkpoint) -> None:
        """The batch was written."""
        if not self.written.done():
            self.written.set_result(checkpoint)

    def fail(self, error: Exception) -> None:
        """The batch was not written, or it is unknown whether it was."""
        if not self.written.done():
            self.written.set_exception(error)


class _InFeedError(FencedError):
    """The feed already holds an event of the batch."""


class DocumentWriter:
    """Reads and writes the documents of one generation."""

    def __init__(self, mongo: Mongo, generation: str) -> None:
        self._mongo = mongo
        self._generation = generation
        self._checkpoints = Checkpoints(mongo, generation)
        self._turn = asyncio.Semaphore(_CONCURRENT)
        self._light_turn = asyncio.Lock()
        self._waiting: list[Batch] = []

    async def load(self, read_model: str, ids: Iterable[str]) -> Documents:
        """Load the documents with these ids that exist."""
        found = self._mongo[collection(read_model, self._generation)].with_options(
            CodecOptions(tz_aware=True)
        )
        with translated():
            rows = await found.find({"_id": {"$in": list(ids)}}).to_list(None)
        return {row["_id"]: row for row in rows}

    async def write(
        self,
        place: Place,
        start: Checkpoint,
        to: Passed,
        event_at: datetime | None,
        writes: Writes,
        parked: Iterable[Parked],
    ) -> Checkpoint:
        """Write everything, move the checkpoint from `start`, and return the new checkpoint.

        Waiting batches of several partitions share a transaction, which costs little more than one's own.
        If `FencedError` or `HaltedError` is raised, nothing was written. After `TransientError`, the
        checkpoint shows whether anything was.
        """
        batch = Batch(place, start, to, event_at, writes, list(parked))
        self._waiting.append(batch)
        # light batches take turns: those that arrive meanwhile share the next transaction
        async with self._light_turn if batch.weight <= _SHARED_SIZE else self._turn:
            if batch in self._waiting:
                await self._write_together(self._next(batch))
        return await batch.written

    def _next(self, first: Batch) -> list[Batch]:
        """The batch whose turn it is, and as many waiting ones as fit into a light transaction with it."""
        taken, weight = [first], first.weight
        for batch in self._waiting:
            if batch is not first and weight + batch.weight <= _SHARED_SIZE:
                taken.append(batch)
                weight += batch.weight
        self._waiting = [batch for batch in self._waiting if batch not in taken]
        return taken

    async def _write_together(self, batches: Sequence[Batch]) -> None:
        try:
            moved = await self._transact_once_per_event(batches)
        except (FencedError, HaltedError) as error:
            if len(batches) == 1:
                batches[0].fail(error)
            else:  # write each by itself, to find out which one failed
                for batch in batches:
                    await self._write_together([batch])
        except Exception as error:
            for batch in batches:
                batch.fail(error)
        except asyncio.CancelledError:
            for batch in batches:
                batch.fail(TransientError("interrupted"))
            raise
        else:
            for batch, checkpoint in zip(batches, moved, strict=True):
                batch.succeed(checkpoint)

    async def _transact_once_per_event(self, batches: Sequence[Batch]) -> list[Checkpoint]:
        """Write the batches. Retry a single batch without the entries that the feed already holds.

        A previously live generation may have added them. If another process wrote this very batch instead,
        the checkpoint fences the retry.
        """
        try:
            return await self._transact(batches)
        except _InFeedError:
            if len(batches) > 1:
                raise
        writes = batches[0].writes
        writes.feed = await missing_from_feed(self._mongo, writes.feed)
        return await self._transact(batches)

    async def _transact(self, batches: Sequence[Batch]) -> list[Checkpoint]:
        moves = [Move(each.place, each.start, each.to, each.event_at) for each in batches]
        written = [(each.place[1], each.writes) for each in batches]

        def work(transaction: Transaction) -> list[Checkpoint]:
            moved, *_ = transaction.send(
                [self._checkpoints.moving(moves), *changes(self._generation, written)]
            )
            self._checkpoints.check(transaction, moves, moved)
            if erased := [customer for batch in batches for customer in batch.writes.erased]:
                self._forget(transaction, erased)
            for each in batches:
                marks.save(transaction, self._generation, each.place, each.parked)
            return [move.moved for move in moves]

        with translated(), _fenced():
            return await transact(self._mongo, work)

    def _forget(self, transaction: Transaction, customers: list[str]) -> None:
        """Remove the names from the other generations too: possibly no process is filling them."""
        session = transaction.session
        kept = transaction[GENERATIONS].find({"_id": {"$ne": LIVE}}, session=session).to_list()
        nameless = {"$set": {"name": None, "email": None}}
        for generation in kept:
            if generation["_id"] != self._generation:
                other = transaction[collection(CUSTOMERS, generation["_id"])]
                other.update_many({"_id": {"$in": customers}}, nameless, session=session)


@contextmanager
def _fenced() -> Generator[None, None, None]:
    """Translate duplicate keys to `FencedError`: another process inserted the documents meanwhile."""
    try:
        yield
    except DuplicateKeyError as error:
        raise FencedError from error
    except BulkWriteError as error:
        codes = {each["code"] for each in error.details.get("writeErrors", ())}
        if codes == {_DUPLICATE_KEY}:
            raise (_InFeedError if error.details.get("collection") == FEED else FencedError) from error
        raise

"""Processes a batch of one partition: loads the affected documents, folds the events, writes the result."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from services.projection.faults import FencedError
from services.projection.folding.batch import Fold, Hole, Refetched
from services.projection.folding.customers import CustomersProjection
from services.projection.folding.orders import OrdersProjection
from services.projection.folding.parking import Parked
from services.projection.folding.products import ProductsProjection
from services.projection.folding.reading import Reading, beginning, reading
from services.projection.folding.topic_projection import Documents, TopicProjection, Writes
from services.projection.kafka.dead_letters import DeadLetters
from services.projection.kafka.refetching import refetch
from services.projection.metrics import ProjectionMetrics
from services.projection.personal_data import Keys
from services.projection.read_models.customers import Reveal
from services.projection.records import Record, digest, incarnation, sent_at, stream_of
from services.projection.store import marks
from services.projection.store.checkpoints import Checkpoint, Checkpoints, Passed, Place
from services.projection.store.connecting import Mongo
from services.projection.store.heartbeats import Heartbeats
from services.projection.store.writing import DocumentWriter
from services.projection.tracing import BatchTrace
from shared.documents import CUSTOMERS, ORDERS, PRODUCTS

DOCUMENTS: Final = {"orders": ORDERS, "customers": CUSTOMERS, "products": PRODUCTS}
"""The read model that holds the versions of a topic's streams."""
_SLICE: Final = 50
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Projector:
    """Applies batches to the documents of one generation."""

    def __init__(
        self,
        mongo: Mongo,
        generation: str,
        keys: Keys,
        dead_letters: DeadLetters,
        kafka: dict[str, Any],
        metrics: ProjectionMetrics,
    ) -> None:
        self.generation = generation
        self._mongo = mongo
        self._keys = keys
        self._dead_letters = dead_letters
        self._kafka = kafka
        self._metrics = metrics
        self._writer = DocumentWriter(mongo, generation)
        self._checkpoints = Checkpoints(mongo, generation)
        self._marks: dict[Place, dict[str, Parked]] = {}
        self._repeating: set[Place] = set()
        """Partitions whose last batch contained events that had already been applied."""

    async def checkpoint(self, place: Place) -> Checkpoint:
        """Load the partition's checkpoint, and reload its marks."""
        checkpoint = await self._checkpoints.load(place)
        self._marks[place] = await marks.load(self._mongo, self.generation, place)
        return checkpoint

    async def reset(self, place: Place, start: Checkpoint) -> Checkpoint:
        """Move the checkpoint back to before the first record, and return it. Raises like `apply`."""
        return await self._writer.write(place, start, Passed("", -1, ""), None, Writes(), ())

    async def incarnations(self) -> Mapping[str, str]:
        """The topics' incarnations as last reported by the relay; empty while the relay is silent."""
        return await Heartbeats(self._mongo).incarnations()

    async def apply(self, place: Place, start: Checkpoint, records: Sequence[Record]) -> Checkpoint:
        """Apply records that follow `start`, and return the new checkpoint.

        Raises `TransientError`, `FencedError` and `HaltedError`.
        """
        topic, began = place[0], time.perf_counter()
        try:
            readings = [reading(record) async for some in slices(records) for record in some]
            # a rebuild is not part of any request
            trace = BatchTrace(place, readings if start.live else ())
            fold, moved = await self._apply(place, start, readings, trace)
        except FencedError:
            self._metrics.fenced.labels(topic).inc()
            raise
        self._marks[place] |= fold.marks
        self._metrics.events.labels(topic).inc(fold.applied)
        self._metrics.repeats.labels(topic).inc(fold.repeats)
        self._metrics.batch_size.labels(topic).observe(len(records))
        self._metrics.apply_seconds.labels(topic).observe(time.perf_counter() - began)
        return moved

    async def _apply(
        self, place: Place, start: Checkpoint, readings: Sequence[Reading], trace: BatchTrace
    ) -> tuple[Fold, Checkpoint]:
        if new := self._new(place, readings):
            fold = await self._fold(place, start, readings, new)
            if not fold.letters and not fold.holes:
                with suppress(FencedError):  # possibly only because one of them is not new
                    return fold, await self._write(place, start, fold, readings, trace)
        fold = await self._fold(place, start, readings)
        if fold.holes:
            fold = await self._fill(place, start, readings, fold.holes)
        # repeats rarely come alone
        (self._repeating.add if fold.repeats else self._repeating.discard)(place)
        if fold.letters:
            await self._dead_letters.send(fold.letters)
            self._alarm(place, fold)
        return fold, await self._write(place, start, fold, readings, trace)

    def _new(self, place: Place, readings: Sequence[Reading]) -> frozenset[str]:
        """Orders assumed to be new without reading them, which would take half of a small batch's time.

        If one is not new, inserting it fails.
        """
        if place[0] != "orders" or place in self._repeating:
            return frozenset()
        return beginning(readings, self._marks[place])

    async def _write(
        self, place: Place, start: Checkpoint, fold: Fold, readings: Sequence[Reading], trace: BatchTrace
    ) -> Checkpoint:
        last = readings[-1].record
        known = (found for each in reversed(readings) if (found := incarnation(each.record)))
        to = Passed(next(known, start.incarnation), last.offset, digest(last))
        trace.writing()
        moved = await self._writer.write(
            place, start, to, sent_at(last), fold.projection.writes(), fold.marks.values()
        )
        trace.written([letter.record for letter in fold.letters])
        return moved

    async def _fold(
        self,
        place: Place,
        start: Checkpoint,
        readings: Sequence[Reading],
        new: frozenset[str] = frozenset(),
        refetched: Refetched | None = None,
    ) -> Fold:
        """Fold onto the streams' stored documents; those in `new` have none."""
        topic = place[0]
        subjects = {each.subject for each in readings}
        known = subjects - new
        stored = await self._writer.load(DOCUMENTS[topic], known) if known else {}
        reveal = await self._keys.reveal(subjects) if topic == "customers" else None
        projection = new_projection(topic, stored, datetime.now(UTC), reveal, live=start.live)
        folding = Fold(projection, self._marks[place], refetched)
        async for some in slices(readings):
            for each in some:
                folding.take(each)
        return folding

    async def _fill(
        self, place: Place, start: Checkpoint, readings: Sequence[Reading], holes: Sequence[Hole]
    ) -> Fold:
        """Fold again, with the missing events if the topic has them."""
        self._metrics.holes.labels(place[0]).inc(len(holes))
        for hole in holes:
            _log.error("%s/%d: %s is missing versions %d to %d", *place, hole.subject, hole.first, hole.last)
        refetched = await refetch(self._kafka, place, holes, readings[-1].record.offset + 1)
        return await self._fold(place, start, readings, refetched=refetched)

    def _alarm(self, place: Place, fold: Fold) -> None:
        self._metrics.dead_letters.labels(place[0]).inc(len(fold.letters))
        for letter in fold.letters:
            subject, offset = stream_of(letter.record), letter.record.offset
            _log.error("%s/%d: dead letter %d of %s: %s", *place, offset, subject, letter.reason)


async def slices(whole: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """Yield a few items at a time, and let other tasks run in between.

    A large batch blocked the event loop for 40 ms. Finished writes made room for the next ones only after
    that, and the store was idle.
    """
    for start in range(0, len(whole), _SLICE):
        if start:
            await asyncio.sleep(0)
        yield whole[start : start + _SLICE]


def new_projection(
    topic: str, stored: Documents, at: datetime, reveal: Reveal | None, *, live: bool
) -> TopicProjection:
    """The projection of a topic's events."""
    match topic:
        case "orders":
            return OrdersProjection(stored, at, live=live)
        case "customers":
            assert reveal is not None
            return CustomersProjection(stored, reveal)
        case "products":
            return ProductsProjection(stored)
        case other:
            raise ValueError(f"no read model for topic {other}")

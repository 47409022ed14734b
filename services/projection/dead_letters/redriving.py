"""Applies a parked stream's events in order, each exactly once, even while new ones arrive."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from services.projection.dead_letters.reading import dead_letters
from services.projection.faults import FencedError, HaltedError, TransientError
from services.projection.folding.parking import Parked, why
from services.projection.folding.topic_projection import TopicProjection
from services.projection.kafka.connecting import client_options
from services.projection.kafka.refetching import refetch_stream
from services.projection.projecting import DOCUMENTS, new_projection
from services.projection.records import Record, read
from services.projection.store import marks
from services.projection.store.checkpoints import Checkpoints, Passed, Place
from services.projection.store.writing import DocumentWriter
from services.projection.wiring import Parts

_PATIENCE_SECONDS: Final = 20.0
_RETRY_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Redriven:
    """How many events were applied; `stuck` is why the stream is still parked, None if it is not."""

    applied: int
    stuck: str | None


async def redrive(parts: Parts, generation: str, place: Place, mark: Parked) -> Redriven:
    """Apply the parked events that can be applied; unpark the stream if none remain.

    Raises `TransientError` if a dependency is unavailable or the partition stays busy.
    """
    applied, options = 0, client_options(parts.settings)
    while True:
        # slow, and so done before the write, which no other batch of the partition may overtake;
        # the topic's copies come first: a rebuild will read them there, with the same offset and time
        candidates = await refetch_stream(options, place, mark.subject)
        candidates += await dead_letters(options, place[0], mark.subject)
        redriven = await _retry_between_batches(parts, generation, place, mark.subject, candidates)
        applied += redriven.applied
        if redriven.stuck is None or not redriven.applied:
            return replace(redriven, applied=applied)
        # progress was made: more of the stream may have been parked meanwhile


async def _retry_between_batches(
    parts: Parts, generation: str, place: Place, subject: str, candidates: Sequence[Record]
) -> Redriven:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await _redrive(parts, generation, place, subject, candidates)
        except (FencedError, HaltedError, TransientError) as error:
            # the service has applied or is applying a batch, or is halted: try again
            if time.monotonic() > deadline:
                raise TransientError(f"the stream's partition stayed busy: {error}") from error
        await asyncio.sleep(_RETRY_SECONDS)


async def _redrive(
    parts: Parts, generation: str, place: Place, subject: str, candidates: Sequence[Record]
) -> Redriven:
    topic = place[0]
    # read first: anything parked after this moves the checkpoint, which the write would detect
    start = await Checkpoints(parts.mongo, generation).load(place)
    mark = (await marks.load(parts.mongo, generation, place)).get(subject)
    if mark is None or not mark.open:
        return Redriven(0, None)
    writer = DocumentWriter(parts.mongo, generation)
    stored = await writer.load(DOCUMENTS[topic], [subject])
    reveal = await parts.keys.reveal([subject]) if topic == "customers" else None
    projection = new_projection(topic, stored, datetime.now(UTC), reveal, live=start.live)
    began = projection.version_of(subject)
    error = _apply(projection, subject, candidates)
    version = projection.version_of(subject)
    done = version >= mark.last_version
    stuck = None if done else error or f"version {version + 1} was not found"
    marked = replace(mark, open=not done, first_version=mark.last_version if done else version + 1)
    if stuck is not None:
        marked = replace(marked, reason=stuck)
    to = Passed(start.incarnation, start.offset, start.digest)
    await writer.write(place, start, to, None, projection.writes(), [marked])
    return Redriven(version - began, stuck)


def _apply(projection: TopicProjection, subject: str, candidates: Iterable[Record]) -> str | None:
    """Apply consecutive versions while there are any; return the last error."""
    readable: dict[int, list[Record]] = {}
    error: str | None = None
    for record in candidates:
        try:
            readable.setdefault(read(record).version, []).append(record)
        except Exception as failure:  # whatever the cause, this copy cannot be used
            error = why(failure)
    while copies := readable.get(projection.version_of(subject) + 1):
        for record in copies:
            try:
                projection.apply(read(record))
                break
            except Exception as failure:  # whatever the cause, this copy cannot be used
                error = why(failure)
        else:
            return error
    return error

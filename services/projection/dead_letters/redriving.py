"""Applies a parked stream's events, in order, each once, also while new ones arrive."""

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
    """How many events were applied; `stuck` says why the stream is still parked, None when it goes on."""

    applied: int
    stuck: str | None


async def redrive(parts: Parts, generation: str, place: Place, mark: Parked) -> Redriven:
    """Apply what can be applied now; the mark goes when nothing is left behind it.

    Raises `TransientError` when that cannot be found out.
    """
    applied, options = 0, client_options(parts.settings)
    while True:
        # slow, and so before the moment in which the partition must stand still
        # what stands in the topic comes first: a rebuild will read it there, with that offset and time
        candidates = await refetch_stream(options, place, mark.subject)
        candidates += await dead_letters(options, place[0], mark.subject)
        redriven = await _between_batches(parts, generation, place, mark.subject, candidates)
        applied += redriven.applied
        if redriven.stuck is None or not redriven.applied:
            return replace(redriven, applied=applied)
        # it came further: more of it may have been parked meanwhile


async def _between_batches(
    parts: Parts, generation: str, place: Place, subject: str, candidates: Sequence[Record]
) -> Redriven:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await _redrive(parts, generation, place, subject, candidates)
        except (FencedError, HaltedError, TransientError) as error:
            # the service applied a batch meanwhile, is applying one, or waits for a switch: look again
            if time.monotonic() > deadline:
                raise TransientError(f"the stream's partition gives no way: {error}") from error
        await asyncio.sleep(_RETRY_SECONDS)


async def _redrive(
    parts: Parts, generation: str, place: Place, subject: str, candidates: Sequence[Record]
) -> Redriven:
    topic = place[0]
    # read first: whatever is parked after this moves the checkpoint, which the write would notice
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
    stuck = None if done else error or f"version {version + 1} is nowhere to be found"
    marked = replace(mark, open=not done, first_version=mark.last_version if done else version + 1)
    if stuck is not None:
        marked = replace(marked, reason=stuck)
    to = Passed(start.incarnation, start.offset, start.digest)
    await writer.write(place, start, to, None, projection.writes(), [marked])
    return Redriven(version - began, stuck)


def _apply(projection: TopicProjection, subject: str, candidates: Iterable[Record]) -> str | None:
    """Apply the next versions as long as there are any; what was wrong with the last one tried."""
    readable: dict[int, list[Record]] = {}
    error: str | None = None
    for record in candidates:
        try:
            readable.setdefault(read(record).version, []).append(record)
        except Exception as failure:  # whatever it is, this copy cannot be used
            error = why(failure)
    while copies := readable.get(projection.version_of(subject) + 1):
        for record in copies:
            try:
                projection.apply(read(record))
                break
            except Exception as failure:  # whatever it is, this copy cannot be used
                error = why(failure)
        else:
            return error
    return error

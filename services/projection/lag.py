"""How far the live documents are behind, partition by partition."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from services.projection.faults import TransientError
from services.projection.kafka.watching import Topics
from services.projection.metrics import ProjectionMetrics
from services.projection.store import marks
from services.projection.store.checkpoints import Checkpoint, Checkpoints, Place
from services.projection.store.connecting import Mongo, Row
from services.projection.store.generations import Generations
from services.projection.store.heartbeats import Heartbeats
from shared import freshness
from shared.freshness import SKEW, Heartbeat, credible, fresh_as_of, lag_ms

_EVERY_SECONDS: Final = 1.0
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_log = logging.getLogger(__name__)


class Lag:
    """Checks every second and reports the result. Missing information never makes the lag smaller."""

    def __init__(self, mongo: Mongo, topics: Topics, metrics: ProjectionMetrics) -> None:
        self._mongo = mongo
        self._topics = topics
        self._metrics = metrics
        self._ends: dict[Place, int] = {}
        self._checkpoints: dict[Place, Checkpoint] = {}
        self._as_of: dict[Place, datetime] = {}
        self._pointer: Row | None = None
        self._parked: list[Row] = []
        self.kafka_unavailable: str | None = "not checked yet"

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self._check_topics()
            try:
                await self._check_documents()
            except TransientError as error:
                _log.debug("cannot measure the lag: %s", error)
            self._measure()
            await asyncio.sleep(_EVERY_SECONDS)

    async def _check_topics(self) -> None:
        try:
            self._ends = await self._topics.ends()
            self.kafka_unavailable = None
        except TransientError as error:
            self.kafka_unavailable = str(error)

    async def _check_documents(self) -> None:
        pointer = await Generations(self._mongo).pointer()
        if pointer is None:
            return
        generation = pointer["generation"]
        checkpoints = await Checkpoints(self._mongo, generation).all()
        self._parked = await marks.parked(self._mongo, generation)
        if self._pointer is not None and self._pointer["generation"] != generation:
            self._as_of.clear()
        now = datetime.now(UTC)
        self._as_of = {place: as_of for place, as_of in self._as_of.items() if as_of <= now + SKEW}
        # back to where the slowest partition is: however far behind, it may have advanced
        oldest = min((self._as_of.get(place, _NEVER) for place in checkpoints), default=now)
        believed = credible(await Heartbeats(self._mongo).since(oldest, now), now)
        for place, checkpoint in checkpoints.items():
            self._prove(place, checkpoint, believed)
        self._pointer, self._checkpoints = pointer, checkpoints

    def _prove(self, place: Place, checkpoint: Checkpoint, beats: Sequence[Heartbeat]) -> None:
        before = self._checkpoints.get(place)
        if before is not None and before.incarnation not in ("", checkpoint.incarnation):
            self._as_of.pop(place, None)
        passed = {place: freshness.Checkpoint(checkpoint.incarnation, checkpoint.offset)}
        known = self._as_of.get(place, _NEVER)
        # older heartbeats prove nothing new, and checking all of them took half of an idle process's time
        newer = [beat for beat in beats if beat.t > known]
        # the newest gives the number of shards; of the others, those not yet passed prove nothing
        telling = newer[:1] + [beat for beat in newer[1:] if _end(place, beat) <= checkpoint.offset + 1]
        as_of = fresh_as_of((_only(place, beat) for beat in telling), passed)
        if as_of is not None:
            self._as_of[place] = as_of

    def _measure(self) -> None:
        for row in self.partitions():
            labels = row["topic"], str(row["partition"])
            if row["events"] is not None:
                self._metrics.lag_events.labels(*labels).set(row["events"])
            self._metrics.lag_seconds.labels(*labels).set(row["ms"] / 1000)
        self._metrics.parked.set(len(self._parked))

    def partitions(self) -> list[dict[str, Any]]:
        """Per partition: the next offset to read, the end offset, and the lag in events and ms."""
        now = datetime.now(UTC)
        return [self._partition(place, now) for place in sorted(self._ends.keys() | self._checkpoints.keys())]

    def _partition(self, place: Place, now: datetime) -> dict[str, Any]:
        checkpoint, end = self._checkpoints.get(place), self._ends.get(place)
        position = 0 if checkpoint is None else checkpoint.offset + 1
        return {
            "topic": place[0],
            "partition": place[1],
            "position": position,
            "endOffset": end,
            # a re-created topic still has to be read from its beginning
            "events": None if end is None else end - position if end >= position else end,
            "ms": lag_ms(now, self._as_of.get(place)),
        }

    def report(self) -> dict[str, Any]:
        """The body of `GET /lag`."""
        pointer: Mapping[str, Any] = self._pointer or {}
        read_models = pointer.get("readModels", {})
        return {
            "generation": pointer.get("generation"),
            "partitions": self.partitions(),
            "readModels": [
                {"name": name, "generation": generation} for name, generation in read_models.items()
            ],
            "parked": [
                {
                    "topic": row["topic"],
                    "partition": row["partition"],
                    "stream": row["subject"],
                    "firstVersion": row["firstVersion"],
                    "lastVersion": row["lastVersion"],
                    "hole": row["hole"],
                }
                for row in self._parked
            ],
        }


def _end(place: Place, beat: Heartbeat) -> int:
    """Where a partition ended when the heartbeat was sent; 0 if the heartbeat does not include it."""
    topic, partition = place
    ends = beat.end_offsets.get(topic, ())
    return ends[partition] if partition < len(ends) else 0


def _only(place: Place, beat: Heartbeat) -> Heartbeat:
    """The heartbeat reduced to one partition."""
    topic, partition = place
    return replace(beat, end_offsets={topic: [0] * partition + [_end(place, beat)]})

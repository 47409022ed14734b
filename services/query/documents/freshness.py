"""How far the documents may be behind, tracked by one reader for the whole process."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from services.query.documents.connecting import Connection, Row
from services.query.documents.errors import DocumentsUnavailableError
from services.query.documents.orders import aware
from shared.documents import CHECKPOINTS, HEARTBEATS
from shared.freshness import NEVER, Checkpoint, Heartbeat, credible, fresh_as_of

_EVERY_SECONDS: Final = 0.2
_OVERLAP: Final = timedelta(seconds=2)
"""Several instances write heartbeats: one may appear with an earlier `at` than one already seen."""
_KEPT: Final = timedelta(minutes=1)
_MOST_KEPT: Final = 20_000
_log = logging.getLogger(__name__)


class Freshness:
    """Knows up to which moment all committed events are in the live documents.

    That moment only comes from a heartbeat that the live checkpoints have passed, so the lag grows if
    anything on the way fails (relay, broker, projection, MongoDB, this reader).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heartbeats: dict[str, Heartbeat] = {}
        self._seen_up_to: datetime | None = None
        self._as_of: datetime | None = None
        self._as_of_ms: int | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="freshness")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    def lag_ms(self) -> int:
        """How many milliseconds the documents may be behind, now."""
        return _since(self._as_of_ms)

    def beginning(self) -> Callable[[], int]:
        """A function: by how many milliseconds documents read from now on may be behind, at each call.

        A heartbeat that is passed only after the read proves nothing about what was read.
        """
        return partial(_since, self._as_of_ms)

    async def _run(self) -> None:
        failing = False
        while True:
            try:
                await self._look()
                failing = False
            except DocumentsUnavailableError as error:
                if not failing:
                    _log.warning("freshness cannot be determined: %s", error)
                failing = True
            except Exception:  # a bug or a revoked privilege: the lag grows until it is fixed
                if not failing:
                    _log.exception("freshness cannot be determined")
                failing = True
            await asyncio.sleep(_EVERY_SECONDS)

    async def _look(self) -> None:
        beats: list[Mapping[str, Any]] = [{"$addFields": {"beat": True}}]
        if self._seen_up_to is not None:
            # no later than now, in case the clock has been set back since
            since = min(self._seen_up_to, datetime.now(UTC).replace(tzinfo=self._seen_up_to.tzinfo))
            beats.insert(0, {"$match": {"at": {"$gt": since - _OVERLAP}}})
        rows = await self._connection.aggregate(
            CHECKPOINTS,
            [{"$match": {"live": True}}, {"$unionWith": {"coll": HEARTBEATS, "pipeline": beats}}],
            # a checkpoint that a crash or an election rolls back would have proven nothing
            lasting=True,
        )
        checkpoints = {
            (row["topic"], row["partition"]): Checkpoint.of(row) for row in rows if "beat" not in row
        }
        for row in rows:
            if "beat" in row:
                self._heard(row)
        self._as_of = fresh_as_of(credible(self._heartbeats.values(), datetime.now(UTC)), checkpoints)
        self._as_of_ms = None if self._as_of is None else round(self._as_of.timestamp() * 1000)
        self._forget()

    def _heard(self, row: Row) -> None:
        self._heartbeats[row["_id"]] = Heartbeat.of(row, aware(row["t"]))
        if self._seen_up_to is None or row["at"] > self._seen_up_to:
            self._seen_up_to = row["at"]

    def _forget(self) -> None:
        """Drop heartbeats that no longer matter: those well before the one that was passed."""
        if self._as_of is None and len(self._heartbeats) < _MOST_KEPT:
            return
        oldest = datetime.min.replace(tzinfo=UTC) if self._as_of is None else self._as_of - _KEPT
        kept = [(name, beat) for name, beat in self._heartbeats.items() if beat.t >= oldest]
        self._heartbeats = dict(kept[-_MOST_KEPT:])


def _since(as_of_ms: int | None) -> int:
    # shared.freshness.lag_ms without date arithmetic, which every response would pay for
    if as_of_ms is None:
        return NEVER
    return min(NEVER, max(0, round(time.time() * 1000) - as_of_ms))

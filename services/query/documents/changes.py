"""Change streams, read batch by batch.

By commands rather than by the driver's `watch`, which gives one change at a time through a thread each.
https://www.mongodb.com/docs/manual/changeStreams/
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from bson.timestamp import Timestamp
from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo.errors import OperationFailure, PyMongoError

from services.query.documents.connecting import RAW, Connection, Pipeline
from services.query.documents.errors import CannotResumeError, DocumentsAwayError, translated, unresumable

_MOST: Final = 500
_FEW: Final = 50
_QUICK_SECONDS: Final = 0.1
"""A batch that took no longer is followed by one of twice the size, any other by one of few."""

Position = str
"""A place in the stream of changes: a resume token's text. Later ones sort after earlier ones."""

Change = Mapping[str, Any]
"""A change event as the server tells it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Some changes in order, and how far the stream has been read with them.

    `settled` when the batch is not full: nothing more of its last transaction follows.
    """

    changes: Sequence[Change]
    position: Position
    settled: bool


def from_now() -> Mapping[str, Any]:
    """Begin with what changes next."""
    return {}


def right_behind(position: Position) -> Mapping[str, Any]:
    """Begin behind that change, which must be one and pass the stream's own filter."""
    return {"startAfter": {"_data": position}}


def at_the_time_of(position: Position) -> Mapping[str, Any]:
    """Begin with all that changed at that moment, whatever the filter lets through."""
    seconds, increment = int(position[2:10], 16), int(position[10:18], 16)
    return {"startAtOperationTime": Timestamp(seconds, increment)}


class ChangeStream:
    """The changes of the database that `matching` lets through, from `begin` on.

    Entering opens it: `CannotResumeError` when it can't begin there. The server answers once a batch is full
    or nothing is left to read. So the batches are small at first and as long as they take their time.
    """

    def __init__(
        self, connection: Connection, matching: Mapping[str, Any], begin: Mapping[str, Any], first: int = _FEW
    ) -> None:
        self._pipeline: Final[Pipeline] = [{"$changeStream": begin}, {"$match": matching}]
        self._connection = connection
        self._exact = "startAfter" in begin
        self._session: AsyncIOMotorClientSession | None = None
        self._cursor: Any = 0
        self._most = first
        self._first: Changes | None = None

    async def __aenter__(self) -> Self:
        with translated():
            self._session = await self._connection.following.client.start_session()
        try:
            self._first = await self._open()
        except BaseException:
            await self._session.end_session()
            raise
        return self

    async def _open(self) -> Changes:
        try:
            return await self._ask(
                {"aggregate": 1, "pipeline": self._pipeline, "cursor": {"batchSize": self._most}},
                "firstBatch",
            )
        except OperationFailure as error:
            # a position that a caller made up fails in many ways, one of our own only when it is too old
            if self._exact or unresumable(error):
                raise CannotResumeError from error
            raise DocumentsAwayError(type(error).__name__) from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        # if it can't be told so, the server ends the cursor by itself
        with suppress(PyMongoError):
            if self._cursor and not isinstance(error, DocumentsAwayError):
                kill = {"killCursors": "$cmd.aggregate", "cursors": [self._cursor]}
                await self._connection.following.command(kill, session=self._session)
        await self._session.end_session()

    async def next(self, wait_ms: int) -> Changes:
        """The next changes; none when there are none within `wait_ms`."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if not self._cursor:
            raise CannotResumeError("the stream was ended")
        ask = {
            "getMore": self._cursor,
            "collection": "$cmd.aggregate",
            "batchSize": self._most,
            "maxTimeMS": wait_ms,
        }
        try:
            return await self._ask(ask, "nextBatch")
        except OperationFailure as error:
            if unresumable(error):
                raise CannotResumeError from error
            raise DocumentsAwayError(type(error).__name__) from error

    async def _ask(self, command: dict[str, Any], batch: str) -> Changes:
        began = time.monotonic()
        with translated():
            told = await self._connection.following.command(command, session=self._session, codec_options=RAW)
        cursor = told["cursor"]
        self._cursor = cursor["id"]
        changes = cursor[batch]
        settled = len(changes) < self._most
        if not settled:
            quick = time.monotonic() - began < _QUICK_SECONDS
            self._most = min(2 * self._most, _MOST) if quick else _FEW
        return Changes(changes, cursor["postBatchResumeToken"]["_data"], settled)


async def require(connection: Connection, position: Position) -> None:
    """Raise `CannotResumeError` unless a stream can go on behind that position; a caller may have made it up.

    Asked of a stream of all changes: in one that also lets its beginning through, the server cannot apply the
    filter to the log itself, and reads it eight times slower.
    """
    async with ChangeStream(connection, {}, right_behind(position), first=1):
        pass

"""Change streams, read batch by batch.

Uses commands instead of the driver's `watch`, which returns one change at a time, each through a thread.
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
from services.query.documents.errors import (
    CannotResumeError,
    DocumentsUnavailableError,
    translated,
    unresumable,
)

_MOST: Final = 500
_FEW: Final = 50
_QUICK_SECONDS: Final = 0.1
"""After a full batch that was faster the batch size doubles; after a slower one it drops to `_FEW`."""

Position = str
"""A position in the change stream: a resume token's text. Later ones sort after earlier ones."""

Change = Mapping[str, Any]
"""A change event as the server sends it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes in order, and the position up to which the stream has been read.

    `settled` if the batch is not full: nothing more of its last transaction follows.
    """

    changes: Sequence[Change]
    position: Position
    settled: bool


def from_now() -> Mapping[str, Any]:
    """Start with the next change."""
    return {}


def right_behind(position: Position) -> Mapping[str, Any]:
    """Start right after that change, which must exist and pass the stream's own filter."""
    return {"startAfter": {"_data": position}}


def at_the_time_of(position: Position) -> Mapping[str, Any]:
    """Start with all changes from that time on, whether or not `position` passes the filter."""
    seconds, increment = int(position[2:10], 16), int(position[10:18], 16)
    return {"startAtOperationTime": Timestamp(seconds, increment)}


class ChangeStream:
    """The changes in the database that pass `matching`, from `begin` on.

    Entering opens it; raises `CannotResumeError` if it can't start there. The server replies once a batch is
    full or nothing is left to read, so batches are small at first, and for as long as they are slow.
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
            # a forged position fails in many ways, one of our own only if it is too old
            if self._exact or unresumable(error):
                raise CannotResumeError from error
            raise DocumentsUnavailableError(type(error).__name__) from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        # if this fails, the server closes the cursor by itself
        with suppress(PyMongoError):
            if self._cursor and not isinstance(error, DocumentsUnavailableError):
                kill = {"killCursors": "$cmd.aggregate", "cursors": [self._cursor]}
                await self._connection.following.command(kill, session=self._session)
        await self._session.end_session()

    async def next(self, wait_ms: int) -> Changes:
        """The next changes; empty if there are none within `wait_ms`."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if not self._cursor:
            raise CannotResumeError("the server closed the stream")
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
            raise DocumentsUnavailableError(type(error).__name__) from error

    async def _ask(self, command: dict[str, Any], batch: str) -> Changes:
        began = time.monotonic()
        with translated():
            reply = await self._connection.following.command(
                command, session=self._session, codec_options=RAW
            )
        cursor = reply["cursor"]
        self._cursor = cursor["id"]
        changes = cursor[batch]
        settled = len(changes) < self._most
        if not settled:
            quick = time.monotonic() - began < _QUICK_SECONDS
            self._most = min(2 * self._most, _MOST) if quick else _FEW
        return Changes(changes, cursor["postBatchResumeToken"]["_data"], settled)


async def require(connection: Connection, position: Position) -> None:
    """Raise `CannotResumeError` unless a stream can resume after that position, which may be forged.

    Checked with an unfiltered stream: if a filter must also pass the start position, the server cannot apply
    it to the oplog itself, and reads it eight times slower.
    """
    async with ChangeStream(connection, {}, right_behind(position), first=1):
        pass

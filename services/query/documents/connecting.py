"""The connection to MongoDB, and how long a read may take."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

# Motor reads it at import; change streams wait in these threads too.
os.environ.setdefault("MOTOR_MAX_WORKERS", "32")

from bson.codec_options import CodecOptions
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import ReadPreference
from pymongo.errors import AutoReconnect
from pymongo.read_concern import ReadConcern

from services.query.documents.errors import translated
from services.query.documents.raw import first_batch

Row = dict[str, Any]
Stage = Mapping[str, Any]
Pipeline = Sequence[Stage]

RAW: Final[CodecOptions[RawBSONDocument]] = CodecOptions(document_class=RawBSONDocument)
"""Documents are decoded only when they are accessed."""
READ_SECONDS: Final = 3.0
"""After this a read is abandoned and the documents count as unavailable."""
_LARGEST_BATCH: Final = 10_000
_LASTING: Final = ReadConcern("majority")
_OPTIONS: Final[dict[str, Any]] = {
    "serverSelectionTimeoutMS": 1500,
    "connectTimeoutMS": 1500,
    "socketTimeoutMS": 4000,
    "waitQueueTimeoutMS": 2000,
    "maxPoolSize": 64,
    "retryReads": True,
    "appname": "orders-query",
}
_FOLLOWING: Final[dict[str, Any]] = {
    **_OPTIONS,
    # a change stream may read a lot of history from a cold disk before it has anything to return
    "socketTimeoutMS": 15_000,
    # a frozen server is still noticed: the driver checks this often, and then fails what waits for it
    "heartbeatFrequencyMS": 1000,
}


class Connection:
    """MongoDB clients, closed on exit. They connect at the first read and read from the primary.

    `following` is for change streams, whose round trips may take longer.
    """

    def __init__(self, url: str, database: str) -> None:
        self._client: AsyncIOMotorClient[Row] = AsyncIOMotorClient(url, **_OPTIONS)
        self._following: AsyncIOMotorClient[Row] = AsyncIOMotorClient(url, **_FOLLOWING)
        self.database: Final = _database(self._client, database)
        self.following: Final = _database(self._following, database)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._following.close()

    async def aggregate(self, collection: str, pipeline: Pipeline, *, lasting: bool = False) -> list[Row]:
        """All results of the pipeline; `DocumentsUnavailableError` if it takes too long or fails temporarily.

        With `lasting`, no crash or election can roll back what is read (a majority has it in its journal).
        """
        read_concern = _LASTING if lasting else None
        with translated():
            async with asyncio.timeout(READ_SECONDS):
                held = self.database.get_collection(collection, read_concern=read_concern)
                found = held.aggregate(list(pipeline), batchSize=_LARGEST_BATCH)
                return await found.to_list(None)

    async def aggregate_raw(self, collection: str, pipeline: Pipeline) -> list[bytes]:
        """Like `aggregate`, but leaves each document as BSON.

        The driver's own ways to read raw documents cost an object for each, or another round trip. They are
        used for results that exceed one batch (16 MB), which are rare and then read from the start: a cursor
        continues only in its session, and a session for each read would cost more.
        """
        cursor = {"batchSize": _LARGEST_BATCH}
        reply = await self._command({"aggregate": collection, "pipeline": pipeline, "cursor": cursor})
        documents, more = first_batch(bytes(reply.raw))
        if more:
            await self._command({"killCursors": collection, "cursors": [Int64(more)]})
            documents = await self._aggregate_all_raw(collection, pipeline)
        return documents

    async def _aggregate_all_raw(self, collection: str, pipeline: Pipeline) -> list[bytes]:
        with translated():
            async with asyncio.timeout(READ_SECONDS):
                held: Any = self.database.get_collection(collection, codec_options=RAW)
                found = held.aggregate(list(pipeline), batchSize=_LARGEST_BATCH)
                return [bytes(row.raw) for row in await found.to_list(None)]

    async def glance(
        self, collection: str, wanted: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """These fields of the documents that match `wanted`; all must fit into one batch."""
        batch = {"batchSize": _LARGEST_BATCH, "singleBatch": True}
        reply = await self._command({"find": collection, "filter": wanted, "projection": fields, **batch})
        found: Sequence[Mapping[str, Any]] = reply["cursor"]["firstBatch"]
        return found

    async def _command(self, command: Row) -> RawBSONDocument:
        with translated():
            async with asyncio.timeout(READ_SECONDS):
                try:
                    return await self.database.command(command, codec_options=RAW)
                except AutoReconnect:
                    # the connection predates a restart or an election; the driver retries only its own reads
                    return await self.database.command(command, codec_options=RAW)


def _database(client: AsyncIOMotorClient[Row], name: str) -> AsyncIOMotorDatabase[Row]:
    return client.get_database(
        name,
        # times come back naive, in UTC: the adapters make them aware
        codec_options=CodecOptions(tz_aware=False),
        read_preference=ReadPreference.PRIMARY,
    )

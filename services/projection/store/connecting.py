"""The connection to MongoDB, and the translation of its errors."""

from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from services.projection.faults import TransientError

Row = dict[str, Any]
Collection = AsyncIOMotorCollection[Row]
DURABLE: Final = WriteConcern(w="majority", j=True)
_OPTIONS: Final[dict[str, Any]] = {
    "serverSelectionTimeoutMS": 2000,
    "connectTimeoutMS": 2000,
    "socketTimeoutMS": 8000,
    "waitQueueTimeoutMS": 8000,
    "maxPoolSize": 64,
    "retryWrites": True,
    "retryReads": True,
    "appname": "orders-projection",
}


class Mongo:
    """A client, closed on exit. Reads majority-committed data from the primary; writes durably."""

    def __init__(self, url: str, database: str) -> None:
        self.client: AsyncIOMotorClient[Row] = AsyncIOMotorClient(url, **_OPTIONS)
        self.database: AsyncIOMotorDatabase[Row] = self.client.get_database(
            database,
            codec_options=CodecOptions(tz_aware=True),
            read_preference=ReadPreference.PRIMARY,
            write_concern=DURABLE,
            read_concern=ReadConcern("majority"),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def __getitem__(self, collection: str) -> Collection:
        return self.database[collection]

    async def why_not_ready(self) -> str | None:
        """Why MongoDB cannot be written to; None if it can."""
        try:
            hello = await self.client.admin.command("hello")
        except PyMongoError:
            return "it does not answer"
        return None if hello.get("isWritablePrimary") else "it has no primary"


@contextmanager
def translated() -> Generator[None, None, None]:
    """Translate the driver's errors to `TransientError`.

    No error of MongoDB is an event's fault (events that cannot be encoded were parked before), so retrying
    is always right.
    """
    try:
        yield
    except PyMongoError as error:
        # without the error's message, which may quote a document
        code = f" {error.code}" if isinstance(error, OperationFailure) else ""
        raise TransientError(f"MongoDB: {type(error).__name__}{code}") from error

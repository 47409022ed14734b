"""MongoDB transactions: durable on a majority, or without effect."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from services.projection.store.connecting import DURABLE, Mongo, Row
from services.projection.store.pipelining import Command, Reply, send_all

_SNAPSHOT: Final = ReadConcern("snapshot")


@asynccontextmanager
async def transaction(mongo: Mongo) -> AsyncIterator[AsyncIOMotorClientSession]:
    """A session in a transaction, committed on exit and aborted on an exception."""
    async with (
        await mongo.client.start_session() as session,
        session.start_transaction(read_concern=_SNAPSHOT, write_concern=DURABLE),
    ):
        yield session


R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction in progress in a thread, on the synchronous client that motor wraps."""

    session: ClientSession
    database: Database[Row]

    def __getitem__(self, collection: str) -> Collection[Row]:
        return self.database[collection]

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """Run the commands in one round trip, and return their replies."""
        return send_all(self.session, self.database.name, commands)


async def transact(mongo: Mongo, work: Callable[[Transaction], R]) -> R:
    """Run all of `work` in one transaction, in a single call to a thread.

    Motor calls a thread for each operation, which for a small batch cost as much as the operations.
    """

    def run() -> R:
        client = mongo.client.delegate
        with (
            client.start_session() as session,
            session.start_transaction(read_concern=_SNAPSHOT, write_concern=DURABLE),
        ):
            return work(Transaction(session, mongo.database.delegate))

    return await asyncio.to_thread(run)

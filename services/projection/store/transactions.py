"""Transactions of MongoDB: durable on a majority, or not at all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo.read_concern import ReadConcern

from services.projection.store.connecting import DURABLE, Mongo


@asynccontextmanager
async def transaction(mongo: Mongo) -> AsyncIterator[AsyncIOMotorClientSession]:
    """A session in a transaction, which is committed on leaving and aborted when something is raised."""
    async with (
        await mongo.client.start_session() as session,
        session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE),
    ):
        yield session

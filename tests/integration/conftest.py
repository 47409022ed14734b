"""What several tests of the query service's documents share."""

from collections.abc import AsyncIterator

import pytest_asyncio

from services.query.documents.connecting import Connection
from tests.query_service import Store, store_of


@pytest_asyncio.fixture
async def store(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Store]:
    """The documents, to be written to."""
    async with store_of(mongodb_url, mongodb_database) as opened:
        yield opened


@pytest_asyncio.fixture
async def connection(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Connection]:
    """The query service's way to them."""
    async with Connection(mongodb_url, mongodb_database) as opened:
        yield opened

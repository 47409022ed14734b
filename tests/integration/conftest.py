"""Shared fixtures: the query service's documents and the command service's API."""

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from services.query.documents.connecting import Connection
from tests.command_service import ADA, CUSTOMER, LAMP, STAFF, command_service
from tests.query_service import Store, store_of


@pytest_asyncio.fixture(scope="module")
async def api(shared_postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a command API with customer `ada`, product `lamp` and the delisted product `gone`."""
    async with command_service(shared_postgres_url) as client:
        await client.put("/products/lamp", json=LAMP, headers=STAFF)
        await client.put("/products/gone", json=LAMP, headers=STAFF)
        await client.delete("/products/gone", headers=STAFF)
        await client.put("/customers/ada", json=ADA, headers=CUSTOMER)
        yield client


@pytest_asyncio.fixture
async def store(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Store]:
    """The documents, for writing."""
    async with store_of(mongodb_url, mongodb_database) as opened:
        yield opened


@pytest_asyncio.fixture
async def connection(mongodb_url: str, mongodb_database: str) -> AsyncIterator[Connection]:
    """The query service's connection to them."""
    async with Connection(mongodb_url, mongodb_database) as opened:
        yield opened

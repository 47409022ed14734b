"""Servers for the tests that need them. Started on first use, shared by the session."""

import signal
from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from services.command.store.migrate import migrate
from tests.servers import Server, start_kafka, start_mongodb, start_postgres


def pytest_configure() -> None:
    """Restore SIGINT: a shell's background jobs ignore it, and so do all processes that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest_asyncio.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """The PostgreSQL server; `url` names a database that no test writes to."""
    server = await start_postgres(tmp_path_factory.mktemp("postgres") / "server")
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """The Kafka broker."""
    server = await start_kafka(tmp_path_factory.mktemp("kafka") / "server")
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="session")
async def mongodb(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """The MongoDB replica set."""
    server = await start_mongodb(tmp_path_factory.mktemp("mongodb") / "server")
    yield server
    await server.stop()


async def migrated_database(postgres: Server) -> str:
    """The URL of a new, migrated database."""
    name = f"test_{uuid4().hex}"
    async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name}".encode())
    url = postgres.url.rsplit("/", 1)[0] + f"/{name}"
    await migrate(url)
    return url


@pytest_asyncio.fixture
async def postgres_url(postgres: Server) -> str:
    """A migrated database for one test."""
    return await migrated_database(postgres)


@pytest_asyncio.fixture(scope="module")
async def shared_postgres_url(postgres: Server) -> str:
    """A migrated database shared by the tests of a module."""
    return await migrated_database(postgres)


@pytest.fixture
def mongodb_url(mongodb: Server) -> str:
    """The URL of the replica set."""
    return mongodb.url


@pytest.fixture
def mongodb_database() -> str:
    """The name of a database for one test."""
    return f"test_{uuid4().hex}"

"""Brings a database to the schema of this version: numbered files, each applied once, under a lock."""

import logging
from pathlib import Path
from typing import Final

import psycopg

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x6F72_6465_7273
_log = logging.getLogger(__name__)


async def migrate(postgres_url: str) -> list[str]:
    """Apply what is missing, in order; returns the names. Safe if several processes start together."""
    applied = []
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {name for (name,) in await (await connection.execute(_APPLIED)).fetchall()}
        for name, statements in _migrations().items():
            if name not in done:
                await _apply(connection, name, statements)
                applied.append(name)
    return applied


def _migrations() -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(MIGRATIONS.glob("*.sql"))}


_APPLIED: Final = "SELECT name FROM schema_migrations"


async def _apply(connection: psycopg.AsyncConnection, name: str, statements: bytes) -> None:
    async with connection.transaction():
        await connection.execute(statements)
        await connection.execute("INSERT INTO schema_migrations (name) VALUES (%s)", [name])
    _log.info("applied migration %s", name)


async def missing(connection: psycopg.AsyncConnection) -> list[str]:
    """The migrations that a process of this version needs and the database does not have."""
    try:
        done = {name for (name,) in await (await connection.execute(_APPLIED)).fetchall()}
    except psycopg.errors.UndefinedTable:
        done = set()
    return [name for name in _migrations() if name not in done]

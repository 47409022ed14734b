"""Deletes expired idempotency keys, and what the others would reveal about erased customers."""

import asyncio
import logging
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from services.command.store.connecting import Pool
from services.command.store.sql import sql

_EVERY_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


async def expire_idempotency_keys(pool: Pool) -> int:
    """Delete all keys older than their promised lifetime; returns how many there were."""
    expired = 0
    async with pool.connection() as connection:
        while (count := (await connection.execute(sql("expire_idempotency_keys"))).rowcount) > 0:
            expired += count
    return expired


async def cut_fingerprints(pool: Pool) -> int:
    """Drop the digests of what erased customers sent; returns how many there were."""
    async with pool.connection() as connection:
        return (await connection.execute(sql("cut_fingerprints"))).rowcount


async def keep_house(pool: Pool) -> None:
    """Do both every minute until cancelled."""
    while True:
        try:
            await expire_idempotency_keys(pool)
            await cut_fingerprints(pool)
        except (psycopg.Error, PoolTimeout) as error:
            _log.debug("idempotency keys could not be cleaned up: %s", type(error).__name__)
        await asyncio.sleep(_EVERY_SECONDS)

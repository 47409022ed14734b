"""The event store as the command service uses it: commands in, answers out, events durable in between."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import psycopg
from prometheus_client import CollectorRegistry
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from services.command.store.announcing import Announcer
from services.command.store.command_queue import CommandQueue
from services.command.store.commands import Command, Executed
from services.command.store.connecting import (
    LOCK_TIMEOUT_MS,
    LONG_LOCK_TIMEOUT_MS,
    Connection,
    Pool,
    conninfo,
)
from services.command.store.deadlines import Deadlines
from services.command.store.errors import StoreUnavailableError
from services.command.store.executing import Executor
from services.command.store.fact_cache import FactCache
from services.command.store.housekeeping import keep_house
from services.command.store.metrics import StoreMetrics
from services.command.store.migrate import missing
from services.command.store.pending import PendingCommand
from services.command.store.personal_data import as_jwk
from services.command.store.sql import sql
from services.command.store.writing import BatchWriter, LockWaiter

_ANSWER_SECONDS: Final = 5.0
_DRAIN_SECONDS: Final = 8.0
_POOL: Final = 8


def _now() -> datetime:
    return datetime.now(UTC)


class EventStore:
    """Executes commands on the event store. Enter it (`async with`) to start its writers.

    Each of the `writers` connections groups commands that arrive together into one transaction; each command
    still has its own outcome. The database may be unavailable, even at startup.
    """

    def __init__(
        self,
        url: str,
        registry: CollectorRegistry,
        *,
        writers: int = 2,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._metrics = StoreMetrics(registry)
        self._clock = clock
        self._queue = CommandQueue()
        self._metrics.waiting.set_function(self._queue.__len__)
        self._deadlines = Deadlines()
        self._known = FactCache()
        self._announcer = Announcer(url)
        self._pool: Pool = AsyncConnectionPool(
            conninfo(url, lock_timeout_ms=LONG_LOCK_TIMEOUT_MS),
            kwargs={"autocommit": True},
            min_size=1,
            max_size=_POOL,
            open=False,
            timeout=3,
            # attempts back off; once they are given up, the next request for a connection starts over
            reconnect_timeout=1,
        )
        self._lock_waiter = LockWaiter(self._pool, self._queue, self._executor)
        self._writers = [
            BatchWriter(url, self._queue, self._lock_waiter, self._executor, self._metrics)
            for _ in range(writers)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # getting it each time takes a system call
        self._stopping = False

    def _executor(self, connection: Connection, lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> Executor:
        announce = self._announcer.announce
        return Executor(connection, self._metrics, self._clock, announce, self._known, lock_timeout_ms)

    async def __aenter__(self) -> Self:
        await self._pool.open()
        self._loop = asyncio.get_running_loop()
        for work in (
            self._announcer.run(),
            self._deadlines.run(),
            keep_house(self._pool),
            *(writer.run() for writer in self._writers),
        ):
            self._tasks.append(asyncio.create_task(work))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Answer the accepted commands, then close the connections."""
        await self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._lock_waiter.close()
        await self._pool.close()

    async def drain(self) -> None:
        """Accept no more commands, and wait until those accepted are answered."""
        self._stopping = True
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._queue.drained()
        except TimeoutError:
            pass  # the callers got a 503 long ago

    async def execute(self, command: Command[Any]) -> Executed:
        """Decide `command` and store its outcome durably, or nothing at all.

        Raises `KeyReusedError`, `ContendedError`, `StoreOverloadedError` and
        `StoreUnavailableError`; after the last, it is unknown whether something was stored.
        """
        if self._stopping:
            raise StoreUnavailableError
        assert self._loop is not None, "the store must be entered first"
        pending = PendingCommand(command, self._loop.create_future())
        self._queue.put(pending)
        self._deadlines.watch(pending)
        try:
            return await pending.future
        finally:
            self._deadlines.forget(pending)

    async def personal_data_keys(self, customer_ids: Sequence[str]) -> dict[str, dict[str, str] | None]:
        """The keys of customers as JSON Web Keys; None where there is none.

        Raises `StoreUnavailableError`.
        """
        try:
            # a server that is frozen, or behind a dead link, does not enforce its own timeout
            async with asyncio.timeout(_ANSWER_SECONDS), self._pool.connection() as connection:
                cursor = await connection.execute(
                    sql("load_personal_data_keys"), {"customers": list(customer_ids)}
                )
                found: dict[str, bytes] = dict(await cursor.fetchall())
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable, PoolTimeout, TimeoutError):
            raise StoreUnavailableError from None
        return {name: as_jwk(found[name]) if name in found else None for name in customer_ids}

    async def why_not_ready(self) -> str | None:
        """Why commands cannot be executed now, or None. Safe to show to anyone."""
        if not any(writer.connected for writer in self._writers):
            return "the event store is unavailable"
        try:
            async with self._pool.connection(timeout=1) as connection:
                lacking = await missing(connection)
        except (psycopg.Error, PoolTimeout):
            return "the event store is unavailable"
        return f"the event store lacks migration {lacking[0]}" if lacking else None

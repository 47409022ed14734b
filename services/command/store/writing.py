"""Writers: each owns a connection and takes the waiting commands in batches (group commit)."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from services.command.store.command_queue import CommandQueue
from services.command.store.connecting import (
    LONG_LOCK_TIMEOUT_MS,
    Connection,
    Pool,
    backend_of,
    backoff,
    connect,
    end_backend,
)
from services.command.store.errors import StoreUnavailableError
from services.command.store.executing import Executor
from services.command.store.metrics import StoreMetrics
from services.command.store.pending import PendingCommand

BATCH: Final = 256
_BATCH_SECONDS: Final = 12.0
_log = logging.getLogger(__name__)


class BatchWriter:
    """Executes batches, one after another; survives the loss of its connection."""

    def __init__(
        self,
        url: str,
        queue: CommandQueue,
        lock_waiter: "LockWaiter",
        executor: Callable[[Connection], Executor],
        metrics: StoreMetrics,
    ) -> None:
        self._url = url
        self._queue = queue
        self._lock_waiter = lock_waiter
        self._executor = executor
        self._metrics = metrics
        self._lost: tuple[int, str] | None = None
        self._orphans: list[PendingCommand] = []
        self.connected = False

    async def run(self) -> None:
        """Work until cancelled."""
        tries = 0
        while True:
            try:
                async with await connect(self._url) as connection:
                    await self._recover(connection)
                    tries = 0
                    await self._work(connection)
            except Exception as error:
                self.connected = False
                if isinstance(error, psycopg.Error | TimeoutError):
                    _log.log(
                        logging.WARNING if tries == 0 else logging.DEBUG,
                        "no connection to the event store (%s), retrying",
                        type(error).__name__,
                    )
                else:
                    _log.exception("a batch failed; its writer goes on with a new connection")
                await asyncio.sleep(backoff(tries))
                tries += 1

    async def _recover(self, connection: Connection) -> None:
        """Before anything is decided again, the lost connection's backend must have ended."""
        if self._lost is not None:
            await end_backend(connection, self._lost)
            self._lost = None
        self._queue.release(self._orphans, again=self._orphans)
        self._orphans = []
        self.connected = True

    async def _work(self, connection: Connection) -> None:
        executor = self._executor(connection)
        backend = backend_of(connection)
        while True:
            batch = await self._queue.take(BATCH)
            try:
                async with asyncio.timeout(_BATCH_SECONDS):
                    left = await executor.run(batch)
            except (psycopg.Error, TimeoutError):
                self._metrics.connections_lost.inc()
                self._lost = backend
                self._orphans = list(batch)
                raise
            except Exception as error:  # a bug: trying again would fail again
                self._lost = backend
                for pending in batch:
                    pending.fail(error)
                self._queue.release(batch)
                raise
            for pending in left.locked:
                self._lock_waiter.wait_for(pending)
            stuck = set(map(id, left.locked))
            done = [pending for pending in batch if id(pending) not in stuck] if stuck else batch
            self._queue.release(done, again=left.again)


class LockWaiter:
    """Waits for other sessions' row locks, each command alone, so that no other has to wait with it."""

    def __init__(
        self, pool: Pool, queue: CommandQueue, executor: Callable[[Connection, int], Executor]
    ) -> None:
        self._pool = pool
        self._queue = queue
        self._executor = executor
        self._tasks: set[asyncio.Task[None]] = set()

    def wait_for(self, pending: PendingCommand) -> None:
        """Execute `pending` with a longer, but still bounded, wait for the lock."""
        task = asyncio.create_task(self._execute(pending), name="locked-out command")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _execute(self, pending: PendingCommand) -> None:
        again: Sequence[PendingCommand] = [pending]
        backend = None
        try:
            async with self._pool.connection() as connection:
                backend = backend_of(connection)
                left = await self._executor(connection, LONG_LOCK_TIMEOUT_MS).run([pending])
            again = left.again
            for stuck in left.locked:
                stuck.fail(StoreUnavailableError())
        except (psycopg.Error, PoolTimeout):
            if backend is not None:
                await self._end(backend)
        finally:
            self._queue.release([pending], again=again)

    async def _end(self, backend: tuple[int, str]) -> None:
        for tries in count():
            try:
                async with self._pool.connection() as connection:
                    await end_backend(connection, backend)
                break
            except (psycopg.Error, PoolTimeout):
                await asyncio.sleep(backoff(tries))

    async def close(self) -> None:
        """Stop waiting."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

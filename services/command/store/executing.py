"""Takes a batch of commands through load, decide and append on one connection.

A failing command does not affect the others: if a load or append fails, the batch is split until each
failing command is on its own.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import psycopg
from opentelemetry.trace import SpanKind
from psycopg import sql as composed

from services.command.store.appending import append
from services.command.store.codec import MissingKeyError
from services.command.store.connecting import LOCK_TIMEOUT_MS, Connection
from services.command.store.deciding import Decision, UnverifiedFactsError, decide
from services.command.store.errors import (
    ContendedError,
    KeyReusedError,
    StoreError,
    StoreUnavailableError,
    is_behind,
    is_lock_wait,
    is_passing,
)
from services.command.store.fact_cache import FactCache
from services.command.store.loading import BatchContext, load
from services.command.store.metrics import StoreMetrics
from services.command.store.pending import PendingCommand
from services.command.store.snapshots import save_snapshots
from shared.events.upcasting import UnknownEventError
from shared.telemetry.tracing import is_tracing, start_span
from shared.times import whole_milliseconds

_TRIES: Final = 20
_SPLIT_LOCK_TIMEOUT_MS: Final = 5
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Leftovers:
    """Commands not answered yet: to be decided `again`, or `locked` out by another session's row lock."""

    again: list[PendingCommand] = field(default_factory=list)
    locked: list[PendingCommand] = field(default_factory=list)


Pair = tuple[PendingCommand, Decision]


class Executor:
    """Executes batches on one connection, one batch at a time.

    `run` raises psycopg's error if the connection is lost: the commands without an answer must then be run
    again, on another connection, once the lost one's backend has ended.
    """

    def __init__(
        self,
        connection: Connection,
        metrics: StoreMetrics,
        clock: Callable[[], datetime],
        announce: Callable[[], None],
        known: FactCache,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    ) -> None:
        self._connection = connection
        self._known = known
        self._metrics = metrics
        self._clock = clock
        self._announce = announce
        self._lock_timeout_ms = lock_timeout_ms

    async def run(self, batch: Sequence[PendingCommand]) -> Leftovers:
        """Answer each command of `batch`, except those left over. No two may be of one stream."""
        leftovers = Leftovers()
        await self._run(batch, leftovers)
        return leftovers

    async def _run(self, batch: Sequence[PendingCommand], leftovers: Leftovers) -> None:
        try:
            context = await self._load(batch)
        except Exception as error:
            if self._connection.closed:
                raise
            if len(batch) == 1:
                self._give_up(batch[0], error, leftovers)
            else:
                middle = len(batch) // 2
                await self._run(batch[:middle], leftovers)
                await self._run(batch[middle:], leftovers)
            return
        pairs = []
        now = whole_milliseconds(self._clock())
        for pending in batch:
            if not _settled(pending, context):
                decision = self._decided(pending, context, now, leftovers)
                if decision is not None:
                    pairs.append((pending, decision))
        if pairs:
            self._metrics.batch_size.observe(len(pairs))
            await self._store(pairs, context, leftovers)
        await self._save_snapshots(batch, context)

    async def _load(self, batch: Sequence[PendingCommand]) -> BatchContext:
        attempted = [event_id for pending in batch for event_id in pending.attempts]
        self._known.keep_bounded()
        return await load(self._connection, [pending.command for pending in batch], attempted, self._known)

    async def _save_snapshots(self, batch: Sequence[PendingCommand], context: BatchContext) -> None:
        try:
            await save_snapshots(self._connection, batch, context)
        except psycopg.Error as error:
            if self._connection.closed:
                raise
            # the commands are answered; the next load of the stream saves it
            _log.info("a snapshot was not saved: %s", type(error).__name__)

    def _decided(
        self, pending: PendingCommand, context: BatchContext, now: datetime, leftovers: Leftovers
    ) -> Decision | None:
        try:
            decision = decide(pending.command, context, now)
        except UnverifiedFactsError:  # the facts must be read first
            self._again(pending, "stale", leftovers)
            return None
        except MissingKeyError:  # erased between two reads; or a restore lacked the keys
            self._again(pending, "keyless", leftovers, StoreUnavailableError())
            return None
        except Exception as error:
            _log.exception("a decision failed")
            pending.fail(error)
            return None
        if decision.writes:
            return decision
        pending.succeed(decision.answer)
        return None

    async def _store(self, pairs: Sequence[Pair], context: BatchContext, leftovers: Leftovers) -> None:
        started, began_ns = time.perf_counter(), time.time_ns()
        try:
            conflicts = await append(self._connection, [decision for _, decision in pairs], context)
        except psycopg.Error as error:
            if self._connection.closed:
                for pending, decision in pairs:
                    pending.remember_attempt(decision)
                raise
            if len(pairs) > 1:
                await self._store_halves(pairs, context, leftovers)
            else:
                self._give_up(pairs[0][0], error, leftovers)
            return
        self._metrics.append_seconds.observe(time.perf_counter() - started)
        stored = False
        tracing = is_tracing()
        for index, (pending, decision) in enumerate(pairs):
            conflict = conflicts.get(index)
            if conflict is None:
                if decision.events:
                    stored = True
                    if tracing:
                        _trace(decision, began_ns)
                pending.succeed(decision.answer)
            else:
                self._again(pending, conflict, leftovers)
        if stored:
            self._announce()

    async def _store_halves(self, pairs: Sequence[Pair], context: BatchContext, leftovers: Leftovers) -> None:
        """Isolate the commands that fail; a short lock timeout keeps the rest from waiting with them."""
        middle = len(pairs) // 2
        await self._set_lock_timeout(min(_SPLIT_LOCK_TIMEOUT_MS, self._lock_timeout_ms))
        await self._store(pairs[:middle], context, leftovers)
        await self._store(pairs[middle:], context, leftovers)
        await self._set_lock_timeout(self._lock_timeout_ms)

    async def _set_lock_timeout(self, milliseconds: int) -> None:
        await self._connection.execute(
            composed.SQL("SET lock_timeout = {}").format(composed.Literal(milliseconds))
        )

    def _again(
        self, pending: PendingCommand, reason: str, leftovers: Leftovers, in_the_end: StoreError | None = None
    ) -> None:
        self._metrics.losses.labels(reason).inc()
        self._known.forget(pending.command.needs)
        pending.tries += 1
        if pending.tries < _TRIES:
            leftovers.again.append(pending)
        else:
            _log.warning("gave up on a command after %d tries: %s", pending.tries, reason)
            pending.fail(in_the_end or ContendedError())

    def _give_up(self, pending: PendingCommand, error: Exception, leftovers: Leftovers) -> None:
        """Handle `error` of a single command, of which nothing was stored."""
        if isinstance(error, psycopg.Error) and is_lock_wait(error):
            self._metrics.lock_waits.inc()
            leftovers.locked.append(pending)
        elif isinstance(error, psycopg.Error) and is_passing(error):
            self._again(pending, "deadlock", leftovers)
        elif isinstance(error, UnknownEventError) or (isinstance(error, psycopg.Error) and is_behind(error)):
            why = str(error).partition("\n")[0]  # without the statement, which follows
            _log.error("the event store and the code are of different versions: %s", why)
            pending.fail(StoreUnavailableError())
        elif isinstance(error, psycopg.OperationalError | psycopg.InternalError):
            _log.error("the event store cannot execute commands: %s", type(error).__name__)
            pending.fail(StoreUnavailableError())
        else:
            _log.error("a command cannot be executed", exc_info=error)
            pending.fail(error)


def _trace(decision: Decision, began_ns: int) -> None:
    """Trace the round trip and commit that made the events durable; the whole batch shared it."""
    command = decision.command
    attributes = {
        "db.system.name": "postgresql",
        "db.operation.name": "INSERT",
        "db.collection.name": "events",
        "orders.stream": command.stream_id,
    }
    span = start_span("INSERT events", command.traceparent, SpanKind.CLIENT, attributes, began_ns)
    if span is not None:
        span.end()


def _settled(pending: PendingCommand, context: BatchContext) -> bool:
    """Whether it was answered before: by an attempt whose outcome was unknown, or under the same key."""
    for event_id, answer in pending.attempts.items():
        if event_id in context.stored_events:
            pending.succeed(answer)
            return True
    key = pending.command.idempotency
    remembered = None if key is None else context.remembered.get((key.user_id, key.key))
    if key is None or remembered is None:
        return False
    # an erased customer's fingerprints are truncated: what is left must match
    if key.fingerprint.startswith(remembered.fingerprint):
        pending.succeed(remembered.answer, replayed=True)
    else:
        pending.fail(KeyReusedError())
    return True

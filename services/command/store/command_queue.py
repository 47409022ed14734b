"""The commands waiting for a writer, and which streams and keys are being worked on."""

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final

from services.command.store.commands import Command
from services.command.store.errors import StoreOverloadedError
from services.command.store.pending import PendingCommand

_CAPACITY: Final = 4096


def _claims(command: Command[Any]) -> tuple[Hashable, ...]:
    """What only one writer of this process may work on: the stream, if not new; the idempotency key."""
    stream = () if command.begins else (command.stream_id,)
    key = command.idempotency
    return stream if key is None else (*stream, (key.user_id, key.key))


class CommandQueue:
    """A bounded FIFO queue, from which each writer takes as much as it may."""

    def __init__(self) -> None:
        self._queue: deque[PendingCommand] = deque()
        self._claimed: set[Hashable] = set()
        self._working = 0
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, pending: PendingCommand) -> None:
        """Queue a new command; raises `StoreOverloadedError` if too many are waiting."""
        if len(self._queue) >= _CAPACITY:
            raise StoreOverloadedError
        self._queue.append(pending)
        self._idle.clear()
        self._changed.set()

    async def take(self, limit: int) -> list[PendingCommand]:
        """Take 1 to `limit` commands, no two of one stream or key; waits until there is one."""
        while not (batch := self._pick(limit)):
            self._changed.clear()
            await self._changed.wait()
        return batch

    def _pick(self, limit: int) -> list[PendingCommand]:
        batch: list[PendingCommand] = []
        passed: list[PendingCommand] = []
        while self._queue and len(batch) < limit:
            pending = self._queue.popleft()
            if pending.future.done():  # its caller gave up before it was started
                continue
            claims = _claims(pending.command)
            if self._claimed.isdisjoint(claims):
                self._claimed.update(claims)
                batch.append(pending)
            else:
                passed.append(pending)
        self._queue.extendleft(reversed(passed))
        self._working += len(batch)
        self._settle()
        return batch

    def release(self, done: Sequence[PendingCommand], again: Iterable[PendingCommand] = ()) -> None:
        """Release the claims of `done`; those of them in `again` are queued again, at the front."""
        for pending in done:
            self._claimed.difference_update(_claims(pending.command))
        self._working -= len(done)
        self._queue.extendleft(pending for pending in again if not pending.future.done())
        self._changed.set()
        self._settle()

    def _settle(self) -> None:
        if not self._queue and not self._working:
            self._idle.set()

    async def drained(self) -> None:
        """Wait until no command is waiting or being worked on."""
        await self._idle.wait()

"""The queue of commands that wait for a writer, and when it counts as drained."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.command.store.command_queue import CommandQueue
from services.command.store.commands import Idempotency
from services.command.store.errors import StoreOverloadedError, StoreUnavailableError
from services.command.store.pending import PendingCommand


def pending(stream_id: str = "products/lamp", idempotency: Idempotency | None = None) -> PendingCommand:
    command = SimpleNamespace(stream_id=stream_id, begins=False, idempotency=idempotency)
    return PendingCommand(cast("Any", command), asyncio.get_running_loop().create_future())


async def test_the_queue_is_not_drained_while_commands_are_executing_or_being_retried() -> None:
    waiting = CommandQueue()
    waiting.put(pending())
    drained = asyncio.create_task(waiting.drained())
    for _ in range(2):
        batch = await waiting.take(10)
        await asyncio.sleep(0)
        assert not drained.done()
        waiting.release(batch, again=batch)
    waiting.release(await waiting.take(10))
    await asyncio.wait_for(drained, 1)


async def test_no_two_batches_hold_commands_for_the_same_stream() -> None:
    waiting = CommandQueue()
    first, second, other = pending(), pending(), pending("products/chair")
    for each in (first, second, other):
        waiting.put(each)
    assert await waiting.take(10) == [first, other]
    waiting.release([first])
    assert await waiting.take(10) == [second]


async def test_commands_that_had_to_wait_for_their_stream_keep_their_order() -> None:
    waiting = CommandQueue()
    first, second, third = pending(), pending(), pending()
    for each in (first, second, third):
        waiting.put(each)
    for each in (first, second, third):
        assert await waiting.take(10) == [each]
        waiting.release([each])


async def test_no_two_batches_hold_commands_with_the_same_idempotency_key() -> None:
    waiting = CommandQueue()
    first = pending("products/lamp", Idempotency("ada", "k", b""))
    second = pending("products/chair", Idempotency("ada", "k", b""))
    other = pending("products/desk", Idempotency("bob", "k", b""))
    for each in (first, second, other):
        waiting.put(each)
    assert await waiting.take(10) == [first, other]
    waiting.release([first])
    assert await waiting.take(10) == [second]


async def test_a_full_queue_refuses_commands_until_some_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.command.store.command_queue._CAPACITY", 3)
    waiting = CommandQueue()
    for stream in ("products/lamp", "products/chair", "products/desk"):
        waiting.put(pending(stream))
    with pytest.raises(StoreOverloadedError):
        waiting.put(pending())
    assert len(waiting) == 3
    await waiting.take(1)
    waiting.put(pending())


async def test_commands_whose_callers_gave_up_are_neither_started_nor_retried() -> None:
    waiting = CommandQueue()
    given_up, other = pending(), pending("products/chair")
    for each in (given_up, other):
        waiting.put(each)
    given_up.expire()
    batch = await waiting.take(10)
    assert batch == [other]
    other.expire()
    waiting.release(batch, again=batch)
    await asyncio.wait_for(waiting.drained(), 1)
    with pytest.raises(StoreUnavailableError):
        await given_up.future
    with pytest.raises(StoreUnavailableError):
        await other.future

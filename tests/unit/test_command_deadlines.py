"""Commands that wait for the store are answered in time, whatever happens to the store."""

import asyncio
from typing import Any, cast

import pytest

from services.command.store import deadlines
from services.command.store.deadlines import Deadlines
from services.command.store.errors import StoreUnavailableError
from services.command.store.pending import PendingCommand


def waiting() -> PendingCommand:
    """A command that is never executed."""
    return PendingCommand(cast("Any", None), asyncio.get_running_loop().create_future())


async def test_only_commands_past_their_deadline_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(deadlines, "_ANSWER_SECONDS", 0.05)
    watched, late, answered = Deadlines(), waiting(), waiting()
    watched.watch(answered)
    watched.watch(late)
    watched.forget(answered)
    looking = asyncio.create_task(watched.run())
    with pytest.raises(StoreUnavailableError):
        await asyncio.wait_for(late.future, 5)
    looking.cancel()
    assert not answered.future.done()

"""A command on its way through the store."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from services.command.store.commands import Answer, Command, Executed
from services.command.store.deciding import Decision
from services.command.store.errors import StoreUnavailableError


@dataclass(slots=True, eq=False)
class PendingCommand:
    """A waiting command, its attempts so far, and the future its caller awaits."""

    command: Command[Any]
    future: "asyncio.Future[Executed]"
    tries: int = 0
    attempts: dict[str, Answer] = field(default_factory=dict)
    """First event id of each attempt whose outcome is unknown, and what it would have answered."""

    def remember_attempt(self, decision: Decision) -> None:
        """The response to an append was lost: its events may be stored."""
        if decision.events:
            self.attempts[decision.events[0].event_id] = decision.answer

    def succeed(self, answer: Answer, *, replayed: bool = False) -> None:
        """Answer the caller, if it is still waiting."""
        if not self.future.done():
            self.future.set_result(Executed(answer, replayed))

    def expire(self) -> None:
        """Fail: the caller has waited long enough, and the store may be unavailable."""
        self.fail(StoreUnavailableError())

    def fail(self, error: Exception) -> None:
        """Raise `error` in the caller, if it is still waiting."""
        if not self.future.done():
            self.future.set_exception(error)

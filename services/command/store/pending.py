"""A command on its way through the store."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from services.command.store.commands import Answer, Command, Executed
from services.command.store.deciding import Verdict
from services.command.store.errors import StoreUnavailableError


@dataclass(slots=True, eq=False)
class Pending:
    """A waiting command, what was tried for it so far, and where its caller waits."""

    command: Command[Any]
    future: "asyncio.Future[Executed]"
    tries: int = 0
    attempts: dict[str, Answer] = field(default_factory=dict)
    """First event id of each attempt whose outcome is not known, and what it would have answered."""

    def remember_attempt(self, verdict: Verdict) -> None:
        """The answer to an append never came: its events may be stored."""
        if verdict.events:
            self.attempts[verdict.events[0].event_id] = verdict.answer

    def succeed(self, answer: Answer, *, replayed: bool = False) -> None:
        """Tell the caller, if it still waits."""
        if not self.future.done():
            self.future.set_result(Executed(answer, replayed))

    def expire(self) -> None:
        """The caller has waited long enough; the store may be away."""
        self.fail(StoreUnavailableError())

    def fail(self, error: Exception) -> None:
        """Tell the caller, if it still waits."""
        if not self.future.done():
            self.future.set_exception(error)

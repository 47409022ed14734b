"""A command on its way through the store."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from services.command.store.commands import Answer, Command, Executed


@dataclass(slots=True, eq=False)
class Pending:
    """A waiting command, what was tried for it so far, and where its caller waits."""

    command: Command[Any]
    deadline: float
    future: "asyncio.Future[Executed]"
    tries: int = 0
    overtaken: bool = False
    attempts: dict[UUID, Answer] = field(default_factory=dict)
    """First event id of each attempt whose outcome is not known, and what it would have answered."""

    def succeed(self, answer: Answer, *, replayed: bool = False) -> None:
        """Tell the caller, if it still waits."""
        if not self.future.done():
            self.future.set_result(Executed(answer, replayed))

    def fail(self, error: Exception) -> None:
        """Tell the caller, if it still waits."""
        if not self.future.done():
            self.future.set_exception(error)

"""A given/when/then notation for domain tests: given events, when a command, then events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest

from services.command.domain.aggregate import Aggregate
from services.command.domain.rejections import Rejection
from shared.events import Event

S = TypeVar("S")
R = TypeVar("R", bound=Rejection)
Decision = Callable[[S], Sequence[Event]]


@dataclass(frozen=True, slots=True)
class Given(Generic[S]):
    """A stream's history."""

    aggregate: Aggregate[S]
    history: tuple[Event, ...]

    @property
    def state(self) -> S:
        """The aggregate's state after the history."""
        return state_of(self.aggregate, self.history)

    def when(self, decision: Decision[S]) -> "When[S]":
        """Handle a command."""
        return When(self, decision)


@dataclass(frozen=True, slots=True)
class When(Generic[S]):
    """A command on top of a history."""

    given: Given[S]
    decision: Decision[S]

    def then(self, *events: Event) -> None:
        """Assert that exactly these events are produced."""
        assert tuple(self.decision(self.given.state)) == events

    def rejected(self, kind: type[R]) -> R:
        """Assert that the command is rejected with this error."""
        with pytest.raises(kind) as caught:
            self.decision(self.given.state)
        return caught.value


def given(aggregate: Aggregate[S], *history: Event) -> Given[S]:
    """A stream containing `history`."""
    return Given(aggregate, history)


def state_of(aggregate: Aggregate[S], history: Sequence[Any]) -> S:
    """The state after `history`."""
    state = aggregate.initial
    for event in history:
        state = aggregate.evolve(state, event)
    return state

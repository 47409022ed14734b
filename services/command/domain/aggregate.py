"""What the event store needs to know about an aggregate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.topics import Category

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Generic[S]):
    """How a stream of events becomes a state.

    `evolve` only takes events of its own category: its streams hold no others. `dump` and `load` convert the
    state to and from plain JSON values for snapshots; personal fields keep their names, in plaintext.
    Change `shape` whenever `evolve`, `dump` or `load` change: older snapshots are then ignored.
    """

    category: Category
    initial: S
    evolve: Callable[[S, Any], S]
    shape: int
    dump: Callable[[S], Mapping[str, Any]]
    load: Callable[[Mapping[str, Any]], S]

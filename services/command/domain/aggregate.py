"""What the event store needs to know of an aggregate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.topics import Category

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Generic[S]):
    """How a stream of events becomes a state.

    `evolve` takes the events of its own category only, which is all that a stream of it holds. `dump` and
    `load` are the state as plain JSON values, for snapshots; personal fields stand under their own names,
    in clear. `shape` changes when `evolve`, `dump` or `load` do: older snapshots are then ignored.
    """

    category: Category
    initial: S
    evolve: Callable[[S, Any], S]
    shape: int
    dump: Callable[[S], Mapping[str, Any]]
    load: Callable[[Mapping[str, Any]], S]

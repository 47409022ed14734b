"""What the store is asked and what it answers: the words between HTTP and the event store.

Each command makes one or several of each of these: they are named tuples, or not frozen, because to make a
frozen dataclass takes three times as long.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from services.command.domain.aggregate import Aggregate
from services.command.domain.facts import Facts
from services.command.domain.rejections import Rejection
from shared.events import Event
from shared.topics import Category

S = TypeVar("S")
ROUTE_FINGERPRINT_BYTES: Final = 16


class Needs(NamedTuple):
    """The write-side facts that a decision wants to know."""

    products: tuple[str, ...] = ()
    customer: str | None = None


NO_NEEDS: Final = Needs()


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's key for one request.

    `fingerprint` digests all that makes it the same request: the route in `ROUTE_FINGERPRINT_BYTES`, then
    the body.
    """

    user_id: str
    key: str
    fingerprint: bytes


class Accepted(NamedTuple):
    """Its events, if any, are durably committed; `version` is the stream's afterwards."""

    version: int
    subject: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The domain refused."""

    rejection: Rejection


@dataclass(frozen=True, slots=True)
class VersionMismatch:
    """`If-Match` named another version than the stream's, which is `actual`."""

    actual: int


Decided: TypeAlias = Accepted | Rejected | VersionMismatch


class Answer(NamedTuple):
    """What the caller is told, now and under the same idempotency key later."""

    status: int
    body: bytes
    location: str | None


class Executed(NamedTuple):
    """An answer; `replayed` when an earlier request with the same key was given it first."""

    answer: Answer
    replayed: bool


@dataclass(slots=True, kw_only=True, eq=False)
class Command(Generic[S]):
    """One command on one stream.

    `decide` is pure and raises a domain `Rejection`; it may be called several times. `expected` is the
    version the stream must have (`"*"`: any but none). `answer` turns the outcome into what the caller is
    told. `received_at` is when the request arrived. With `begins`, the stream's id was made for it: there is
    nothing to load.
    """

    category: Category
    subject: str
    aggregate: Aggregate[S]
    decide: Callable[[S, Facts], Sequence[Event]]
    needs: Needs = NO_NEEDS
    begins: bool = False
    expected: int | Literal["*"] | None = None
    idempotency: Idempotency | None = None
    actor: str
    traceparent: str | None
    request_id: str
    received_at: datetime
    answer: Callable[[Decided], Answer]
    stream_id: str = field(init=False)
    """The stream's name in the store."""

    def __post_init__(self) -> None:
        self.stream_id = f"{self.category}/{self.subject}"

"""What goes into the store and what comes out: the types between HTTP and the event store.

Those created for every command are named tuples or unfrozen dataclasses: creating a frozen dataclass takes
three times as long.
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
    """The write-side facts that a decision needs."""

    products: tuple[str, ...] = ()
    customer: str | None = None


NO_NEEDS: Final = Needs()


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's key for one request.

    `fingerprint` tells whether a request is the same: a digest of method, path and `If-Match`
    (`ROUTE_FINGERPRINT_BYTES` long), then one of the body.
    """

    user_id: str
    key: str
    fingerprint: bytes


class Accepted(NamedTuple):
    """The domain accepted; `version` is the stream's after the events, if any."""

    version: int
    subject: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The domain refused."""

    rejection: Rejection


@dataclass(frozen=True, slots=True)
class VersionMismatch:
    """`If-Match` does not match the stream's version, which is `actual`."""

    actual: int


Outcome: TypeAlias = Accepted | Rejected | VersionMismatch


class Answer(NamedTuple):
    """What the caller gets, now and later under the same idempotency key."""

    status: int
    body: bytes
    location: str | None


class Executed(NamedTuple):
    """An answer; `replayed` if an earlier request with the same key got it first."""

    answer: Answer
    replayed: bool


@dataclass(slots=True, kw_only=True, eq=False)
class Command(Generic[S]):
    """One command on one stream.

    `decide` is pure and raises a domain `Rejection`; it may be called several times. `expected` is the
    version the stream must be at (`"*"`: any but 0). `answer` turns the outcome into what the caller gets.
    `received_at` is when the request arrived. With `begins`, the stream's id is new: nothing to load.
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
    answer: Callable[[Outcome], Answer]
    stream_id: str = field(init=False)
    """The stream's name in the store."""

    def __post_init__(self) -> None:
        self.stream_id = f"{self.category}/{self.subject}"

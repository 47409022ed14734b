"""The feed of order events, and the other changes this service must know about."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Final, Literal, Self

import bson

from services.query.documents.changes import (
    Change,
    ChangeStream,
    Position,
    at_the_time_of,
    from_now,
    require,
)
from services.query.documents.connecting import Connection
from services.query.documents.generations import Pointer
from services.query.documents.orders import order_of
from services.query.documents.shapes import Customer, Order
from shared.documents import CHECKPOINTS, CUSTOMERS, FEED, GENERATIONS, PRODUCTS

_WRITTEN: Final = ["insert", "update", "replace"]
_NOBODY: Final[Mapping[str, Any]] = {}
_MILESTONES: Final[Mapping[str, Any]] = {"ns.coll": CHECKPOINTS, "operationType": "update"}
"""Each transaction of the projection, of about a thousand documents, moves a checkpoint. Streams include
these so that batches fill up: no round trip takes long where nothing wanted was written for long."""


class FeedEvent:
    """One event of an order, with the order as of that version. Decoded only when accessed."""

    def __init__(self, change: Change) -> None:
        self.position: Final[Position] = change["_id"]["_data"]
        self._raw: Final = change["fullDocument"]

    @cached_property
    def _document(self) -> Mapping[str, Any]:
        decoded: Mapping[str, Any] = bson.decode(self._raw.raw)
        return decoded

    @property
    def order_id(self) -> str:
        """The order it belongs to."""
        found: str = self._document["orderId"]
        return found

    @property
    def customer_id(self) -> str:
        """The customer of the order."""
        found: str = self._document["customerId"]
        return found

    @property
    def type(self) -> str:
        """The event type."""
        found: str = self._document["type"]
        return found

    @property
    def traceparent(self) -> str | None:
        """The trace of the request that caused it."""
        found: str | None = self._document["traceparent"]
        return found

    @property
    def trace(self) -> str | None:
        """The `traceparent` of its projection, if that was traced."""
        found: str | None = self._document.get("trace")
        return found

    @property
    def status(self) -> str:
        """The order's status right after the event."""
        found: str = self._document["order"]["status"]
        return found

    def order(self, customer: Customer | None) -> Order:
        """The order as of that version, with `customer`'s name and email address."""
        named = _NOBODY if customer is None else {"name": customer.name, "email": customer.email}
        return order_of(self.order_id, self._document["order"], named)


@dataclass(frozen=True, slots=True)
class News:
    """Changes in order, and the position up to which they have been read.

    `settled` unless more of the last transaction may follow.
    """

    events: Sequence[FeedEvent]
    touched: Sequence[tuple[Literal["customers", "products"], str]]
    pointer_moved: bool
    position: Position
    settled: bool


class Feed:
    """Opens streams of news."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all_news(self, live: Pointer, after: Position | None) -> "NewsStream":
        """Every order event, and changes to the pointer and the live generation's customers and products.

        Starts right after `after`, which may be a change in another generation.
        """
        others = [GENERATIONS, live.named(CUSTOMERS), live.named(PRODUCTS)]
        matching = {
            "$or": [
                {"ns.coll": FEED, "operationType": "insert"},
                {"ns.coll": {"$in": others}, "operationType": {"$in": _WRITTEN}},
                _MILESTONES,
            ]
        }
        begin = from_now() if after is None else at_the_time_of(after)
        return NewsStream(ChangeStream(self._connection, matching, begin), after)

    def order_events(self, after: Position, *, order_id: str | None, customer_id: str | None) -> "NewsStream":
        """Order events from right after `after` on, only of that order or customer if given.

        `after` may come from a caller.
        """
        wanted: dict[str, Any] = {"ns.coll": FEED, "operationType": "insert"}
        if order_id is not None:
            wanted["fullDocument.orderId"] = order_id
        if customer_id is not None:
            wanted["fullDocument.customerId"] = customer_id
        matching = {"$or": [wanted, _MILESTONES]}
        stream = ChangeStream(self._connection, matching, at_the_time_of(after))
        return NewsStream(stream, after, partial(require, self._connection, after))


class NewsStream:
    """A change stream of news; enter it to open it. Raises `CannotResumeError` if it can't start there."""

    def __init__(
        self, stream: ChangeStream, after: Position | None, first: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._stream = stream
        self._after = after or ""
        self._first = first

    async def __aenter__(self) -> Self:
        if self._first is not None:
            await self._first()
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stream.__aexit__(kind, error, trace)

    async def next(self, wait_ms: int) -> News:
        """The next news; empty if there is none within `wait_ms`."""
        changes = await self._stream.next(wait_ms)
        events: list[FeedEvent] = []
        touched: list[tuple[Literal["customers", "products"], str]] = []
        moved = False
        for change in changes.changes:
            collection: str = change["ns"]["coll"]
            if collection == CHECKPOINTS or change["_id"]["_data"] <= self._after:
                continue
            if collection == FEED:
                events.append(FeedEvent(change))
            elif collection == GENERATIONS:
                moved = True
            else:
                kind: Literal["customers", "products"] = (
                    CUSTOMERS if collection.startswith(CUSTOMERS) else PRODUCTS
                )
                touched.append((kind, change["documentKey"]["_id"]))
        return News(events, touched, moved, max(changes.position, self._after), changes.settled)

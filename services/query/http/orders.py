"""Orders over HTTP."""

from typing import Any, Final
from weakref import WeakKeyDictionary

from services.query.arrivals import Arrivals, Kind
from services.query.documents.feed import FeedEvent
from services.query.documents.history import History
from services.query.documents.names import Names
from services.query.documents.orders import Orders
from services.query.documents.shapes import HistoryEntry, Order, PageKey
from services.query.http.answering import Representation, representation
from services.query.http.cursors import after_order, order_key
from services.query.http.endpoint import QueryRequest
from services.query.http.parameters import wait_seconds
from services.query.http.problems import ORDER_NOT_FOUND, VERSION_NOT_FOUND
from services.query.http.waiting import at_least
from services.query.representations import history_json, order_json, timeline_json
from shared.auth import STAFF, Principal
from shared.problems import Problem

_represented: Final[WeakKeyDictionary[Order, Representation]] = WeakKeyDictionary()


class OrderQueries:
    """Queries about orders. Another customer's order is treated as if it did not exist."""

    def __init__(self, orders: Orders, history: History, arrivals: Arrivals, names: Names) -> None:
        self._orders = orders
        self._history = history
        self._arrivals = arrivals
        self._names = names

    async def one(self, request: QueryRequest) -> Representation:
        """An order, current or past."""
        order_id = request.identifier("orderId")
        if not request.scope["query_string"]:
            return represented(await self._now(request.caller, order_id))
        given = request.parameters
        least = given.version("minVersion")
        as_of_version, as_of = given.version("asOfVersion"), given.time("asOf")
        if given.text("asOf") is not None and given.text("asOfVersion") is not None:
            given.wrong("asOf", "it cannot be combined with asOfVersion")
        given.raise_if_invalid()
        past = as_of_version is not None or as_of is not None
        if least is not None:
            found = await self._at_least(request, order_id, least)
            if not past:
                return represented(found)
        if past:
            owner, was = (
                await self._history.at_time(order_id, as_of)
                if as_of is not None
                else await self._history.at_version(order_id, as_of_version or 0)
            )
            _require_owner(request.caller, owner)
            if was is None:
                raise Problem(VERSION_NOT_FOUND, "The order has no such version, or did not exist yet.")
            return represented(was)
        return represented(await self._now(request.caller, order_id))

    async def _now(self, caller: Principal, order_id: str) -> Order:
        order = await self._orders.get(order_id)
        if order is None or not may_see(caller, order):
            raise not_found()
        return order

    async def _at_least(self, request: QueryRequest, order_id: str, version: int) -> Order:
        request.waited = wait_seconds(request.scope)

        async def read() -> Order | None:
            order = await self._orders.get(order_id)
            return order if order is not None and may_see(request.caller, order) else None

        async def look() -> Order | None:
            return await read() if await self._orders.seems_at(order_id, version) else None

        async def build(event: FeedEvent) -> Order | None:
            names = await self._names.of([event.customer_id])
            order = event.order(names.get(event.customer_id))
            return order if may_see(request.caller, order) else None

        of: tuple[Kind, str] = ("orders", order_id)
        seen = look if request.waited else read
        return await at_least(
            seen, version, request.waited, self._arrivals, of, request.receive, request.begin_reading, build
        )

    async def page(self, request: QueryRequest) -> dict[str, Any]:
        """Orders, newest first: all for staff, their own for customers."""
        given = request.parameters
        cursor = given.text("cursor")
        after: PageKey | None = None if cursor is None else order_key(cursor)
        customer_id, status, limit = given.identifier("customerId"), given.status(), given.limit()
        given.raise_if_invalid()
        if not request.caller.is_staff:
            if customer_id not in {None, request.caller.sub}:
                return {"data": [], "hasMore": False, "nextCursor": None}
            customer_id = request.caller.sub
        page = await self._orders.page(customer_id=customer_id, status=status, after=after, limit=limit)
        last = page.orders[-1] if page.more else None
        return {
            "data": [order_json(order) for order in page.orders],
            "hasMore": page.more,
            "nextCursor": None if last is None else after_order(PageKey(last.created_at, last.id)),
        }

    async def history(self, request: QueryRequest) -> dict[str, Any]:
        """All events of an order, oldest first."""
        return {"data": [history_json(entry) for entry in await self._entries(request)]}

    async def timeline(self, request: QueryRequest) -> dict[str, Any]:
        """The path of each event of an order through the system; staff only."""
        request.caller.require(STAFF)
        return {"data": [timeline_json(entry) for entry in await self._entries(request)]}

    async def _entries(self, request: QueryRequest) -> list[HistoryEntry]:
        request.parameters.raise_if_invalid()
        entries = await self._history.entries(request.identifier("orderId"))
        _require_owner(request.caller, entries[0].customer_id if entries else None)
        return entries


def represented(order: Order) -> Representation:
    """The order as it is sent; built once per object, which stays the same while the order does."""
    known = _represented.get(order)
    if known is None:
        known = _represented[order] = representation(order_json(order))
    return known


def may_see(caller: Principal, order: Order) -> bool:
    """Whether the order is the caller's, or the caller is staff."""
    return order.customer_id == caller.sub or caller.is_staff


def not_found() -> Problem:
    """404 `order-not-found`."""
    return Problem(ORDER_NOT_FOUND, "There is no order with this id.")


def _require_owner(caller: Principal, owner: str | None) -> None:
    if owner is None or (owner != caller.sub and not caller.is_staff):
        raise not_found()

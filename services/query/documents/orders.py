"""Orders: a single one, or a page."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import bson

from services.query.documents.batching import Batches
from services.query.documents.connecting import Pipeline, Row, Stage
from services.query.documents.generations import LiveGeneration, Named
from services.query.documents.shapes import Item, Order, Page, PageKey
from shared.documents import CUSTOMERS, ORDERS
from shared.money import Money

_NOBODY: Final[Row] = {}
_MOST_KNOWN: Final = 16_384
_MOST_KNOWN_BYTES: Final = 32 * 1024 * 1024
"""Of documents as stored; decoded and represented, an order takes several times as much."""
_NEWEST_FIRST: Final = {"createdAt": -1, "_id": -1}


class Orders:
    """Reads orders, each with its customer's current name, in one round trip."""

    def __init__(self, live: LiveGeneration) -> None:
        self._live = live
        self._known: dict[bytes, Order] = {}
        self._known_bytes = 0
        self._single: Batches[str, Order] = Batches(self._read, "orders")
        self._versions: Batches[str, int] = Batches(self._read_versions, "versions")

    async def get(self, order_id: str) -> Order | None:
        """The order with that id, or None. Concurrent calls share a round trip."""
        return await self._single.get(order_id)

    async def seems_at(self, order_id: str, version: int) -> bool:
        """Whether the order seems to have that version already: a cheap check, since it mostly does not yet.

        A switch of generations may make this wrong; waiting requests check again after one.
        """
        return (await self._versions.get(order_id) or 0) >= version

    async def _read_versions(self, ids: Sequence[str]) -> Mapping[str, int]:
        rows = await self._live.glance(ORDERS, {"_id": {"$in": ids}}, {"version": 1})
        return {row["_id"]: row["version"] for row in rows}

    async def _read(self, ids: Sequence[str]) -> Mapping[str, Order]:
        def pipeline(named: Named) -> Pipeline:
            return [{"$match": {"_id": {"$in": ids}}}, with_customer(named)]

        orders = [self._decoded(raw) for raw in await self._live.read_raw(ORDERS, pipeline)]
        return {order.id: order for order in orders}

    def _decoded(self, raw: bytes) -> Order:
        """The order in these bytes: the same object for the same bytes, so that what is derived from it can
        be cached too. It is never stale: the bytes were just read from the store."""
        order = self._known.get(raw)
        if order is None:
            row = bson.decode(raw)
            order = order_of(row["_id"], row, customer_of(row))
            self._remember(raw, order)
        return order

    def _remember(self, raw: bytes, order: Order) -> None:
        self._known[raw] = order
        self._known_bytes += len(raw)
        while len(self._known) > _MOST_KNOWN or self._known_bytes > _MOST_KNOWN_BYTES:
            oldest = next(iter(self._known))  # dictionaries keep insertion order
            del self._known[oldest]
            self._known_bytes -= len(oldest)

    async def page(
        self, *, customer_id: str | None, status: str | None, after: PageKey | None, limit: int
    ) -> Page:
        """Up to `limit` matching orders, newest first, from right after `after`."""

        def pipeline(named: Named) -> Pipeline:
            return page_pipeline(named, customer_id, status, after, limit)

        rows = await self._live.read(ORDERS, pipeline)
        orders = [order_of(row["_id"], row, customer_of(row)) for row in rows[:limit]]
        return Page(orders, len(rows) > limit)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._single.close()
        await self._versions.close()


def page_pipeline(
    named: Named, customer_id: str | None, status: str | None, after: PageKey | None, limit: int
) -> list[Stage]:
    """Reads one order more than `limit`, to know whether more follow.

    After a key come the smaller ids of the same time, then all earlier times: two ranges of one index, read
    one after the other, since one range with a condition would read all orders of that time again.
    """
    matching: Row = {}
    if customer_id is not None:
        matching["customerId"] = customer_id
    if status is not None:
        matching["status"] = status
    bounds = {"$sort": _NEWEST_FIRST}, {"$limit": limit + 1}
    if after is None:
        stages: list[Stage] = [{"$match": matching}, *bounds]
    else:
        moment = after.created_at
        same = {**matching, "createdAt": moment, "_id": {"$lt": after.id}}
        earlier = {**matching, "createdAt": {"$lt": moment}}
        rest = {"coll": named(ORDERS), "pipeline": [{"$match": earlier}, *bounds]}
        stages = [{"$match": same}, *bounds, {"$unionWith": rest}, {"$limit": limit + 1}]
    return [*stages, with_customer(named)]


def with_customer(named: Named) -> Stage:
    """Joins the customer's document, from the same generation, as `customer`."""
    return {
        "$lookup": {
            "from": named(CUSTOMERS),
            "localField": "customerId",
            "foreignField": "_id",
            "as": "customer",
        }
    }


def customer_of(row: Row) -> Row:
    """The joined customer's document; empty if there is none."""
    joined: list[Row] = row["customer"]
    return joined[0] if joined else _NOBODY


def aware(moment: datetime) -> datetime:
    """A time as the driver reads it (naive, in UTC), made aware."""
    return moment.replace(tzinfo=UTC)


def aware_or_none(moment: datetime | None) -> datetime | None:
    """Like `aware`, but passes None through."""
    return None if moment is None else moment.replace(tzinfo=UTC)


def order_of(order_id: str, row: Mapping[str, Any], customer: Mapping[str, Any]) -> Order:
    """The order of an order document and its customer's document, as stored."""
    return Order(
        order_id,
        row["customerId"],
        customer.get("name"),
        customer.get("email"),
        [
            Item(item["productId"], item["productName"], item["quantity"], Money(item["price"]))
            for item in row["items"]
        ],
        Money(row["total"]),
        row["status"],
        aware(row["createdAt"]),
        aware(row["updatedAt"]),
        row["version"],
        aware_or_none(row.get("shippedAt")),
        row.get("trackingNumber"),
        aware_or_none(row.get("cancelledAt")),
        row.get("cancellationReason"),
    )

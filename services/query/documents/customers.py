"""Customers: their names, and the totals of their orders."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import bson

from services.query.documents.batching import Batches
from services.query.documents.connecting import Pipeline, Row
from services.query.documents.generations import LiveGeneration, Named
from services.query.documents.names import Names
from services.query.documents.orders import aware
from services.query.documents.shapes import Customer, CustomerSummary
from shared.documents import CUSTOMER_SUMMARIES, CUSTOMERS, parts_of
from shared.money import Money

_COUNTS: Final = ("orderCount", "pendingCount", "shippedCount", "cancelledCount", "lifetimeValue")


class Customers:
    """Reads customers. A summary is stored in one part per partition; the parts are added up here."""

    def __init__(self, live: LiveGeneration) -> None:
        self._live = live
        self._names: Batches[str, Customer] = Batches(self._read_names, "names")
        self.names: Final = Names(self._names.get_all)

    async def _read_names(self, ids: Sequence[str]) -> Mapping[str, Customer]:
        def pipeline(_: Named) -> Pipeline:
            return [{"$match": {"_id": {"$in": ids}}}, {"$project": {"name": 1, "email": 1}}]

        rows = [bson.decode(row) for row in await self._live.read_raw(CUSTOMERS, pipeline)]
        return {row["_id"]: Customer(row.get("name"), row.get("email")) for row in rows}

    async def summary(self, customer_id: str) -> CustomerSummary | None:
        """The customer's summary; None if neither the customer nor any of its orders is known."""

        def pipeline(named: Named) -> Pipeline:
            parts = [{"$match": {"_id": parts_of(customer_id)}}]
            return [
                {"$match": {"_id": customer_id}},
                {"$unionWith": {"coll": named(CUSTOMER_SUMMARIES), "pipeline": parts}},
            ]

        rows = await self._live.read(CUSTOMERS, pipeline)
        return _summary(customer_id, rows) if rows else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._names.close()


def _summary(customer_id: str, rows: Sequence[Row]) -> CustomerSummary:
    customer: Row = next((row for row in rows if row["_id"] == customer_id), {})
    parts = [row for row in rows if row is not customer]
    orders, pending, shipped, cancelled, value = (sum(part[name] for part in parts) for name in _COUNTS)
    times = [part["lastOrderAt"] for part in parts if part.get("lastOrderAt") is not None]
    return CustomerSummary(
        customer_id=customer_id,
        name=customer.get("name"),
        email=customer.get("email"),
        order_count=orders,
        pending_count=pending,
        shipped_count=shipped,
        cancelled_count=cancelled,
        lifetime_value=Money(value),
        last_order_at=aware(max(times)) if times else None,
        version=customer.get("version", 0),
    )

"""The events of an order, and the order as it was."""

from datetime import datetime
from typing import Final

from services.query.documents.connecting import Pipeline, Row, Stage
from services.query.documents.errors import DocumentsUnavailableError
from services.query.documents.generations import LiveGeneration, Named
from services.query.documents.orders import aware, customer_of, order_of, with_customer
from services.query.documents.shapes import HistoryEntry, Order
from shared.documents import ORDER_HISTORY, version_id, versions_of

_TRIES: Final = 3
_WITHOUT_ORDER: Final = {"order": 0}


class History:
    """Reads the events of orders, each stored with the order as it was right after."""

    def __init__(self, live: LiveGeneration) -> None:
        self._live = live

    async def entries(self, order_id: str) -> list[HistoryEntry]:
        """All events of the order, oldest first; empty if it is unknown."""

        def pipeline(_: Named) -> Pipeline:
            return [
                {"$match": {"_id": versions_of(order_id)}},
                {"$sort": {"version": 1}},
                {"$project": _WITHOUT_ORDER},
            ]

        for _ in range(_TRIES):
            rows = await self._live.read(ORDER_HISTORY, pipeline)
            # a scan that yields while a transaction of two events commits may miss the first of them
            if [row["version"] for row in rows] == list(range(1, len(rows) + 1)):
                return [_entry(row) for row in rows]
        raise DocumentsUnavailableError("the history changed while it was read")

    async def at_version(self, order_id: str, version: int) -> tuple[str | None, Order | None]:
        """The order's customer and the order as of that version; None for what does not exist."""
        return await self._at(order_id, [{"$match": {"_id": version_id(order_id, version)}}])

    async def at_time(self, order_id: str, moment: datetime) -> tuple[str | None, Order | None]:
        """The order's customer and the order as of that time, inclusive; None for what does not exist."""
        past = {"_id": versions_of(order_id), "occurredAt": {"$lte": moment}}
        return await self._at(order_id, [{"$match": past}, {"$sort": {"version": -1}}, {"$limit": 1}])

    async def _at(self, order_id: str, wanted: list[Stage]) -> tuple[str | None, Order | None]:
        def pipeline(named: Named) -> Pipeline:
            first = [{"$match": {"_id": version_id(order_id, 1)}}, {"$project": {"customerId": 1}}]
            return [
                *wanted,
                with_customer(named),
                {"$unionWith": {"coll": named(ORDER_HISTORY), "pipeline": first}},
            ]

        rows = await self._live.read(ORDER_HISTORY, pipeline)
        if not rows:
            return None, None
        owner: str = rows[-1]["customerId"]
        found = rows[0]
        if len(rows) == 1:
            return owner, None
        return owner, order_of(order_id, found["order"], customer_of(found))


def _entry(row: Row) -> HistoryEntry:
    return HistoryEntry(
        version=row["version"],
        type=row["type"],
        occurred_at=aware(row["occurredAt"]),
        actor=row["actor"],
        traceparent=row["traceparent"],
        data=row["data"],
        customer_id=row["customerId"],
        received_at=aware(row["receivedAt"]),
        committed_at=aware(row["committedAt"]),
        published_at=aware(row["publishedAt"]),
        projected_at=aware(row["projectedAt"]),
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
    )

"""Sales by day."""

from datetime import date

from services.query.documents.connecting import Pipeline
from services.query.documents.generations import LiveGeneration, Named
from services.query.documents.shapes import DailySales
from shared.documents import DAILY_SALES, parts_of
from shared.money import Money


class Sales:
    """Reads daily sales. A day is stored in one part per partition; the store adds up the parts."""

    def __init__(self, live: LiveGeneration) -> None:
        self._live = live

    async def daily(self, first: date, last: date) -> list[DailySales]:
        """The days with orders from `first` to `last`, both inclusive, oldest first."""

        def pipeline(_: Named) -> Pipeline:
            return [
                {"$match": {"_id": parts_of(first.isoformat(), last.isoformat())}},
                {
                    "$group": {
                        "_id": "$date",
                        "orders": {"$sum": "$orderCount"},
                        "cancelled": {"$sum": "$cancelledCount"},
                        "revenue": {"$sum": "$revenue"},
                    }
                },
                {"$match": {"orders": {"$gt": 0}}},
                {"$sort": {"_id": 1}},
            ]

        rows = await self._live.read(DAILY_SALES, pipeline)
        return [
            DailySales(row["_id"], row["orders"], row["cancelled"], Money(row["revenue"])) for row in rows
        ]

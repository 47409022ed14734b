"""Reports over HTTP, for staff."""

from typing import Any, Final

from services.query.documents.sales import Sales
from services.query.http.endpoint import QueryRequest
from services.query.representations import sales_json
from shared.auth import STAFF

LONGEST_SPAN_DAYS: Final = 366


class ReportQueries:
    """All reports."""

    def __init__(self, sales: Sales) -> None:
        self._sales = sales

    async def daily_sales(self, request: QueryRequest) -> dict[str, Any]:
        """Sales by day, `from` and `to` inclusive."""
        request.caller.require(STAFF)
        given = request.parameters
        first, last = given.day("from"), given.day("to")
        if first is not None and last is not None:
            if last < first:
                given.wrong("to", "it is before from")
            elif (last - first).days >= LONGEST_SPAN_DAYS:
                given.wrong("to", f"the span is over {LONGEST_SPAN_DAYS} days")
        given.raise_if_invalid()
        assert first is not None
        assert last is not None
        return {"data": [sales_json(day) for day in await self._sales.daily(first, last)]}

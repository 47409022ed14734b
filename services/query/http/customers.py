"""Customers over HTTP."""

from typing import Any

from services.query.arrivals import Arrivals, Kind
from services.query.documents.customers import Customers
from services.query.documents.shapes import CustomerSummary
from services.query.http.endpoint import QueryRequest
from services.query.http.parameters import wait_seconds
from services.query.http.problems import CUSTOMER_NOT_FOUND
from services.query.http.waiting import at_least
from services.query.representations import summary_json
from shared.problems import Problem


class CustomerQueries:
    """Queries about customers. Another customer's summary is treated as if it did not exist."""

    def __init__(self, customers: Customers, arrivals: Arrivals) -> None:
        self._customers = customers
        self._arrivals = arrivals

    async def summary(self, request: QueryRequest) -> dict[str, Any]:
        """A customer and the totals of its orders."""
        customer_id = request.identifier("customerId")
        least = request.parameters.version("minVersion")
        request.parameters.raise_if_invalid()
        allowed = request.caller.is_staff or request.caller.sub == customer_id

        async def read() -> CustomerSummary | None:
            return await self._customers.summary(customer_id) if allowed else None

        if least is not None:
            request.waited = wait_seconds(request.scope)
            of: tuple[Kind, str] = ("customers", customer_id)
            found = await at_least(
                read, least, request.waited, self._arrivals, of, request.receive, request.begin_reading
            )
            return summary_json(found)
        summary = await read()
        if summary is None:
            raise Problem(CUSTOMER_NOT_FOUND, "There is no customer with this id.")
        return summary_json(summary)

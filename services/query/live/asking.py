"""What a caller asks of a stream, for both kinds of streams."""

from starlette.types import Scope

from services.query.http.parameters import Parameters
from services.query.live.wanted import Wanted
from shared.auth import Principal


def wanted_by(caller: Principal, scope: Scope) -> tuple[Wanted, str | None]:
    """The stream's filters and its `?cursor=`; a 422 for what does not fit."""
    given = Parameters(scope)
    order_id, customer_id, status = (
        given.identifier("orderId"),
        given.identifier("customerId"),
        given.status(),
    )
    cursor = given.text("cursor")
    given.refuse_misfits()
    return Wanted.by(caller, order_id=order_id, customer_id=customer_id, status=status), cursor

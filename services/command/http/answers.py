"""Turns decisions into responses: the one place that knows the HTTP side of rejections."""

from typing import Final, assert_never

import orjson
from starlette.types import Scope

from services.command.domain.customer import AlreadyErasedError, CustomerNotFoundError
from services.command.domain.order import (
    CustomerUnknownError,
    OrderNotFoundError,
    OrderNotPendingError,
    ProductUnavailableError,
)
from services.command.domain.product import ProductNotFoundError
from services.command.domain.rejections import Rejection
from services.command.store.commands import Accepted, Answer, Outcome, Rejected, VersionMismatch
from shared.problems import Kind, instance_of, problem_body

VERSION_MISMATCH: Final = Kind(412, "version-mismatch", "The stream is at another version")
PRODUCT_UNAVAILABLE: Final = Kind(422, "product-unavailable", "Some products cannot be ordered")
CUSTOMER_UNKNOWN: Final = Kind(422, "customer-unknown", "Only registered customers can order")
ORDER_NOT_PENDING: Final = Kind(409, "order-not-pending", "The order is no longer pending")
ORDER_NOT_FOUND: Final = Kind(404, "order-not-found", "There is no such order")
PRODUCT_NOT_FOUND: Final = Kind(404, "product-not-found", "There is no such product")
CUSTOMER_NOT_FOUND: Final = Kind(404, "customer-not-found", "There is no such customer")
CUSTOMER_ERASED: Final = Kind(409, "customer-erased", "The customer was erased")


def answer(decided: Outcome, *, thing: str, location: str, scope: Scope) -> Answer:
    """The response to `decided`; `thing` names the aggregate (`order`), `location` is where to read it."""
    match decided:
        case Accepted(version, subject):
            body = orjson.dumps({f"{thing}Id": subject, "version": version})
            return Answer(202, body, location)
        case Rejected(rejection):
            kind, detail, extra = _problem_of(rejection)
            return Answer(kind.status, problem_body(kind, detail, instance_of(scope), **extra), None)
        case VersionMismatch(actual):
            detail = f"It is at version {actual}." if actual else "It does not exist."
            body = problem_body(VERSION_MISMATCH, detail, instance_of(scope), currentVersion=actual)
            return Answer(VERSION_MISMATCH.status, body, None)
        case _:
            assert_never(decided)


def _problem_of(rejection: Rejection) -> tuple[Kind, str, dict[str, object]]:
    match rejection:
        case ProductUnavailableError(product_ids=ids):
            detail = f"Unknown or delisted: {', '.join(ids)}."
            return PRODUCT_UNAVAILABLE, detail, {"productIds": list(ids)}
        case CustomerUnknownError():
            return CUSTOMER_UNKNOWN, "Register with PUT /customers/{customerId} first.", {}
        case OrderNotPendingError(current_status=status):
            return ORDER_NOT_PENDING, f"It is {status}.", {"currentStatus": status}
        case OrderNotFoundError():
            return ORDER_NOT_FOUND, "No order with this id is visible to you.", {}
        case ProductNotFoundError():
            return PRODUCT_NOT_FOUND, "No product with this id was ever listed.", {}
        case CustomerNotFoundError():
            return CUSTOMER_NOT_FOUND, "No customer with this id ever registered.", {}
        case AlreadyErasedError():
            return CUSTOMER_ERASED, "Its data is permanently erased; it cannot register again.", {}
        case _:
            raise TypeError(f"{type(rejection).__name__} is not mapped to a problem")

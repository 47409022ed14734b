"""Which messages a stream wants and may receive."""

from dataclasses import dataclass

from starlette.types import Scope

from services.query.documents.feed import FeedEvent
from services.query.http.parameters import Parameters
from shared.auth import Principal

Key = tuple[str, str]
EVERYTHING: Key = ("everything", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """A stream's filters. `owner` is the only customer whose orders it may receive; None for staff."""

    owner: str | None
    order_id: str | None
    customer_id: str | None
    status: str | None

    @classmethod
    def by(
        cls, caller: Principal, *, order_id: str | None, customer_id: str | None, status: str | None
    ) -> "Filters":
        """These filters, limited to what `caller` may receive."""
        owner = None if caller.is_staff else caller.sub
        return cls(owner=owner, order_id=order_id, customer_id=customer_id, status=status)

    @property
    def key(self) -> Key:
        """The one of an event's keys (`keys_of`) under which this stream wants it."""
        if self.order_id is not None:
            return ("order", self.order_id)
        customer_id = self.owner or self.customer_id
        return EVERYTHING if customer_id is None else ("customer", customer_id)

    def matches(self, event: FeedEvent) -> bool:
        """Whether the event is wanted."""
        return (
            (self.owner is None or event.customer_id == self.owner)
            and (self.customer_id is None or event.customer_id == self.customer_id)
            and (self.order_id is None or event.order_id == self.order_id)
            and (self.status is None or event.status == self.status)
        )


def keys_of(event: FeedEvent) -> tuple[Key, Key, Key]:
    """The keys under which streams can want an event."""
    return (("order", event.order_id), ("customer", event.customer_id), EVERYTHING)


def filters_of(caller: Principal, scope: Scope) -> tuple[Filters, str | None]:
    """The stream's filters and its `?cursor=`; a 422 for invalid parameters."""
    given = Parameters(scope)
    order_id, customer_id, status = (
        given.identifier("orderId"),
        given.identifier("customerId"),
        given.status(),
    )
    cursor = given.text("cursor")
    given.raise_if_invalid()
    return Filters.by(caller, order_id=order_id, customer_id=customer_id, status=status), cursor

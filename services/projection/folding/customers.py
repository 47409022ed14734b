"""Folds the topic `customers`."""

import bson

from services.projection.folding.topic_projection import Documents, Encoded, Writes
from services.projection.read_models import customers
from services.projection.read_models.customers import Reveal
from services.projection.read_models.incoming import Document, Incoming
from shared.documents import CUSTOMERS
from shared.events import CustomerErased, CustomerEvent


class CustomersProjection:
    """The documents of a batch's customers."""

    def __init__(self, stored: Documents, reveal: Reveal) -> None:
        self._customers: dict[str, Document] = dict(stored)
        self._reveal = reveal
        self._changed: dict[str, Encoded] = {}
        self._erased: list[str] = []

    def version_of(self, subject: str) -> int:
        """The version of the customer's document; 0 if there is none."""
        customer = self._customers.get(subject)
        return 0 if customer is None else customer["version"]

    def apply(self, incoming: Incoming[CustomerEvent]) -> None:
        """Apply the customer's next event."""
        customer = customers.apply(self._customers.get(incoming.subject), incoming, self._reveal)
        bson.encode(customer)  # fails here if it cannot be encoded
        self._customers[incoming.subject] = self._changed[incoming.subject] = customer
        if isinstance(incoming.event, CustomerErased):
            self._erased.append(incoming.subject)

    def forget(self, subject: str) -> None:
        """Remove the customer's name and email address, even if earlier events are still parked."""
        if (customer := self._customers.get(subject)) is not None:
            nameless = {**customer, "name": None, "email": None}
            self._customers[subject] = self._changed[subject] = nameless
        self._erased.append(subject)

    def writes(self) -> Writes:
        """All changes."""
        return Writes(replaced={CUSTOMERS: self._changed}, erased=self._erased)

"""Folds the topic `customers`."""

import bson

from services.projection.folding.topic_projection import Documents, Encoded, Writes
from services.projection.read_models import customers
from services.projection.read_models.customers import Reveal
from services.projection.read_models.incoming import Document, Incoming
from shared.documents import CUSTOMERS
from shared.events import CustomerErased, CustomerEvent


class CustomersProjection:
    """The documents of the customers in a batch."""

    def __init__(self, stored: Documents, reveal: Reveal) -> None:
        self._customers: dict[str, Document] = dict(stored)
        self._reveal = reveal
        self._changed: dict[str, Encoded] = {}
        self._erased: list[str] = []

    def version_of(self, subject: str) -> int:
        """The version of the customer's document; 0 for none."""
        customer = self._customers.get(subject)
        return 0 if customer is None else customer["version"]

    def apply(self, incoming: Incoming[CustomerEvent]) -> None:
        """Take in the customer's next event."""
        customer = customers.apply(self._customers.get(incoming.subject), incoming, self._reveal)
        bson.encode(customer)  # what cannot be encoded fails here
        self._customers[incoming.subject] = self._changed[incoming.subject] = customer
        if isinstance(incoming.event, CustomerErased):
            self._erased.append(incoming.subject)

    def forget(self, subject: str) -> None:
        """Take the customer's name away, whatever else of its events has to wait."""
        if (customer := self._customers.get(subject)) is not None:
            nameless = {**customer, "name": None, "email": None}
            self._customers[subject] = self._changed[subject] = nameless
        self._erased.append(subject)

    def writes(self) -> Writes:
        """All that changed."""
        return Writes(replaced={CUSTOMERS: self._changed}, erased=self._erased)

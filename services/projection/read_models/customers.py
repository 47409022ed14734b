"""Customers' names and email addresses after their last event. Null once they can no longer be decrypted."""

from collections.abc import Callable
from typing import assert_never

from services.projection.read_models.incoming import Document, Incoming, UnusableEventError
from shared.events import CustomerDetailsChanged, CustomerErased, CustomerEvent, CustomerRegistered

Reveal = Callable[[str, str], str | None]
"""Decrypts a text of the customer with that id; None if the key was deleted."""


def apply(customer: Document | None, incoming: Incoming[CustomerEvent], reveal: Reveal) -> Document:
    """The customer after the event."""
    subject = incoming.subject
    match incoming.event:
        case CustomerRegistered(name=name, email=email) | CustomerDetailsChanged(name=name, email=email):
            if customer is not None and customer["erased"]:
                raise UnusableEventError("the customer was already erased")
            return _customer(incoming, reveal(subject, name), reveal(subject, email), erased=False)
        case CustomerErased():
            return _customer(incoming, None, None, erased=True)
        case other:
            assert_never(other)


def _customer(
    incoming: Incoming[CustomerEvent], name: str | None, email: str | None, *, erased: bool
) -> Document:
    return {
        "_id": incoming.subject,
        "name": name,
        "email": email,
        "version": incoming.version,
        "erased": erased,
    }

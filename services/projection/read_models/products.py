"""Products after their last event."""

from typing import assert_never

from services.projection.read_models.incoming import Document, Incoming, UnusableEventError
from shared.events import ProductDelisted, ProductEvent, ProductListed, ProductRenamed, ProductRepriced


def apply(product: Document | None, incoming: Incoming[ProductEvent]) -> Document:
    """The product after the event."""
    match incoming.event:
        case ProductListed(name=name, price=price):
            changes: Document = {"name": name, "price": int(price), "available": True}
            return {"_id": incoming.subject, "version": incoming.version, **changes}
        case ProductRenamed(name=name):
            changes = {"name": name}
        case ProductRepriced(price=price):
            changes = {"price": int(price)}
        case ProductDelisted():
            changes = {"available": False}
        case other:
            assert_never(other)
    if product is None:
        raise UnusableEventError("the product was never listed")
    return {**product, "version": incoming.version, **changes}

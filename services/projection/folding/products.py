"""Folds the topic `products`."""

import bson

from services.projection.folding.topic_projection import Documents, Encoded, Writes
from services.projection.read_models import products
from services.projection.read_models.incoming import Document, Incoming
from shared.documents import PRODUCTS
from shared.events import ProductEvent


class ProductsProjection:
    """The documents of a batch's products."""

    def __init__(self, stored: Documents) -> None:
        self._products: dict[str, Document] = dict(stored)
        self._changed: dict[str, Encoded] = {}

    def version_of(self, subject: str) -> int:
        """The version of the product's document; 0 if there is none."""
        product = self._products.get(subject)
        return 0 if product is None else product["version"]

    def apply(self, incoming: Incoming[ProductEvent]) -> None:
        """Apply the product's next event."""
        product = products.apply(self._products.get(incoming.subject), incoming)
        bson.encode(product)  # fails here if it cannot be encoded
        self._products[incoming.subject] = self._changed[incoming.subject] = product

    def writes(self) -> Writes:
        """All changes."""
        return Writes(replaced={PRODUCTS: self._changed})

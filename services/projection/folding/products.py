"""Folds the topic `products`."""

import bson

from services.projection.folding.topic_projection import Documents, Encoded, Writes
from services.projection.read_models import products
from services.projection.read_models.incoming import Document, Incoming
from shared.documents import PRODUCTS
from shared.events import ProductEvent


class ProductsProjection:
    """The documents of the products in a batch."""

    def __init__(self, stored: Documents) -> None:
        self._products: dict[str, Document] = dict(stored)
        self._changed: dict[str, Encoded] = {}

    def version_of(self, subject: str) -> int:
        """The version of the product's document; 0 for none."""
        product = self._products.get(subject)
        return 0 if product is None else product["version"]

    def apply(self, incoming: Incoming[ProductEvent]) -> None:
        """Take in the product's next event."""
        product = products.apply(self._products.get(incoming.subject), incoming)
        bson.encode(product)  # what cannot be encoded fails here
        self._products[incoming.subject] = self._changed[incoming.subject] = product

    def writes(self) -> Writes:
        """All that changed."""
        return Writes(replaced={PRODUCTS: self._changed})

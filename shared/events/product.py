"""What happens to a product."""

from typing import ClassVar

from shared.events.wire import recorded
from shared.money import Money


@recorded
class ProductListed:
    """A product can be ordered, for the first time or again."""

    schema_version: ClassVar[int] = 1
    product_id: str
    """The product, and the record's key."""
    name: str
    """What it is called from now on."""
    price: Money
    """What one costs from now on."""


@recorded
class ProductRenamed:
    """A product has another name; orders keep the name they were placed under."""

    schema_version: ClassVar[int] = 1
    product_id: str
    """The product, and the record's key."""
    name: str
    """What it is called from now on."""


@recorded
class ProductRepriced:
    """A product has another price; orders keep the price they were placed at."""

    schema_version: ClassVar[int] = 1
    product_id: str
    """The product, and the record's key."""
    price: Money
    """What one costs from now on."""


@recorded
class ProductDelisted:
    """A product can no longer be ordered."""

    schema_version: ClassVar[int] = 1
    product_id: str
    """The product, and the record's key."""

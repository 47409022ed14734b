"""What happens to a product."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import with_config

from shared.events.wire import WIRE
from shared.money import Money


@with_config(WIRE)
@dataclass(frozen=True, slots=True, kw_only=True)
class ProductListed:
    """A product can be ordered, for the first time or again."""

    schema_version: ClassVar[int] = 1
    product_id: str
    """The product, and the record's key."""
    name: str
    """What it is called from now on."""
    price: Money
    """What one costs from now on."""


@with_config(WIRE)
@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRenamed:
    """A product has another name; orders keep the name they were placed under."""

    schema_version: ClassVar[int] = 1
    product_id: str
    """The product, and the record's key."""
    name: str
    """What it is called from now on."""


@with_config(WIRE)
@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRepriced:
    """A product has another price; orders keep the price they were placed at."""

    schema_version: ClassVar[int] = 1
    product_id: str
    """The product, and the record's key."""
    price: Money
    """What one costs from now on."""


@with_config(WIRE)
@dataclass(frozen=True, slots=True, kw_only=True)
class ProductDelisted:
    """A product can no longer be ordered."""

    schema_version: ClassVar[int] = 1
    product_id: str
    """The product, and the record's key."""

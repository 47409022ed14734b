"""What a decision may know beyond its own stream, read in the transaction that records the outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFact:
    """A product as it is sold now; `price` of one unit."""

    name: str
    price: Money
    available: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The products that were asked for and exist, by id; whether the customer asked for is registered."""

    products: Mapping[str, ProductFact] = field(default_factory=dict)
    customer_registered: bool = False


NO_FACTS = Facts()

"""What a decision may know beyond its own stream, read in the transaction that records the outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from shared.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFact:
    """A product as it is sold now; `price` of one unit."""

    name: str
    price: Money
    available: bool


class Facts(NamedTuple):
    """The products that were asked for and exist, by id; whether the customer asked for is registered."""

    products: Mapping[str, ProductFact] = MappingProxyType({})
    customer_registered: bool = False

"""What a decision may know beyond its own stream; checked again in the transaction that stores its events."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from shared.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFact:
    """A product as currently sold; `price` is per unit."""

    name: str
    price: Money
    available: bool


class Facts(NamedTuple):
    """The requested products that exist, by id, and whether the requested customer is registered."""

    products: Mapping[str, ProductFact] = MappingProxyType({})
    customer_registered: bool = False

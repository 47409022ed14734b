"""A product: listed, renamed, repriced, delisted and perhaps listed again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, assert_never

from services.command.domain.aggregate import Aggregate
from services.command.domain.rejections import NotThereError
from shared.events import ProductDelisted, ProductEvent, ProductListed, ProductRenamed, ProductRepriced
from shared.money import Money


@dataclass(frozen=True, slots=True)
class NoProduct:
    """It was never listed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """It can be ordered."""

    name: str
    price: Money


@dataclass(frozen=True, slots=True)
class Delisted:
    """It can no longer be ordered."""

    name: str
    price: Money


Product: TypeAlias = NoProduct | Listed | Delisted


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferProduct:
    """Offer a product with this name, at this price."""

    product_id: str
    name: str
    price: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class DelistProduct:
    """Stop offering a product."""

    product_id: str


class ProductNotFoundError(NotThereError):
    """There was never such a product."""


def evolve(state: Product, event: ProductEvent) -> Product:
    """The product after `event`."""
    match event:
        case ProductListed():
            return Listed(event.name, event.price)
        case ProductRenamed():
            return state if isinstance(state, NoProduct) else replace(state, name=event.name)
        case ProductRepriced():
            return state if isinstance(state, NoProduct) else replace(state, price=event.price)
        case ProductDelisted():
            return state if isinstance(state, NoProduct) else Delisted(state.name, state.price)
        case _:
            assert_never(event)


def offer(state: Product, command: OfferProduct) -> Sequence[ProductEvent]:
    """List it, or change what differs; no events if nothing does."""
    match state:
        case NoProduct() | Delisted():
            return [ProductListed(product_id=command.product_id, name=command.name, price=command.price)]
        case Listed(name, price):
            events: list[ProductEvent] = []
            if name != command.name:
                events.append(ProductRenamed(product_id=command.product_id, name=command.name))
            if price != command.price:
                events.append(ProductRepriced(product_id=command.product_id, price=command.price))
            return events
        case _:
            assert_never(state)


def delist(state: Product, command: DelistProduct) -> Sequence[ProductEvent]:
    """Delist it; no events if it is already delisted. Raises `ProductNotFoundError`."""
    match state:
        case NoProduct():
            raise ProductNotFoundError
        case Listed():
            return [ProductDelisted(product_id=command.product_id)]
        case Delisted():
            return []
        case _:
            assert_never(state)


def _dump(state: Product) -> Mapping[str, Any]:
    match state:
        case NoProduct():
            return {"state": "none"}
        case Listed(name, price):
            return {"state": "listed", "productName": name, "price": int(price)}
        case Delisted(name, price):
            return {"state": "delisted", "productName": name, "price": int(price)}
        case _:
            assert_never(state)


def _load(stored: Mapping[str, Any]) -> Product:
    match stored["state"]:
        case "none":
            return NoProduct()
        case "listed":
            return Listed(stored["productName"], Money(stored["price"]))
        case "delisted":
            return Delisted(stored["productName"], Money(stored["price"]))
        case other:
            raise ValueError(f"unknown product state: {other}")


PRODUCT: Final[Aggregate[Product]] = Aggregate(
    category="products", initial=NoProduct(), evolve=evolve, shape=1, dump=_dump, load=_load
)

"""Decisions about products."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from services.command.domain import product
from services.command.domain.product import (
    PRODUCT,
    DelistProduct,
    OfferProduct,
    Product,
    ProductNotFoundError,
)
from shared.events import ProductDelisted, ProductEvent, ProductListed, ProductRenamed, ProductRepriced
from shared.money import Money
from tests.unit.scenario import given

Decision = Callable[[Product], Sequence[ProductEvent]]
LISTED = ProductListed(product_id="p", name="Lamp", price=Money(1990))
RENAMED = ProductRenamed(product_id="p", name="Light")
REPRICED = ProductRepriced(product_id="p", price=Money(5))
DELISTED = ProductDelisted(product_id="p")


def offer(name: str = "Lamp", price: int = 1990) -> Decision:
    command = OfferProduct(product_id="p", name=name, price=Money(price))
    return partial(product.offer, command=command)


DELIST: Decision = partial(product.delist, command=DelistProduct(product_id="p"))


def test_a_new_product_is_listed() -> None:
    given(PRODUCT).when(offer()).then(LISTED)


def test_only_differences_produce_events() -> None:
    given(PRODUCT, LISTED).when(offer(name="Light")).then(RENAMED)
    given(PRODUCT, LISTED).when(offer(price=5)).then(REPRICED)
    given(PRODUCT, LISTED).when(offer("Light", 5)).then(RENAMED, REPRICED)


def test_the_same_offer_again_changes_nothing() -> None:
    given(PRODUCT, LISTED).when(offer()).then()
    given(PRODUCT, LISTED, RENAMED, REPRICED).when(offer("Light", 5)).then()


def test_a_product_is_delisted_once() -> None:
    given(PRODUCT, LISTED).when(DELIST).then(DELISTED)
    given(PRODUCT, LISTED, DELISTED).when(DELIST).then()


def test_an_unknown_product_cannot_be_delisted() -> None:
    given(PRODUCT).when(DELIST).rejected(ProductNotFoundError)


def test_a_delisted_product_can_be_listed_again_unchanged() -> None:
    given(PRODUCT, LISTED, DELISTED).when(offer()).then(LISTED)


@pytest.mark.parametrize("event", [RENAMED, REPRICED, DELISTED])
def test_evolve_accepts_an_event_without_history(event: ProductEvent) -> None:
    assert given(PRODUCT, event).state == PRODUCT.initial


@pytest.mark.parametrize("history", [[], [LISTED], [LISTED, RENAMED, REPRICED], [LISTED, DELISTED]])
def test_a_snapshot_holds_the_whole_state(history: list[ProductEvent]) -> None:
    state = given(PRODUCT, *history).state
    assert PRODUCT.load(PRODUCT.dump(state)) == state

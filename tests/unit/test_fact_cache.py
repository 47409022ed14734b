"""The cache of write-side facts."""

import pytest

from services.command.domain.facts import ProductFact
from services.command.store.commands import Needs
from services.command.store.fact_cache import FactCache
from shared.money import Money


def test_a_cache_that_has_grown_large_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.command.store.fact_cache._CAPACITY", 3)
    known, needs = FactCache(), Needs(products=("lamp", "desk"), customer="ada")
    lamp = ProductFact(name="Lamp", price=Money(1990), available=True)
    known.products |= {"lamp": (lamp, 1), "desk": (lamp, 1)}
    known.customers["ada"] = (True, 1)
    known.keep_bounded()
    assert known.cover(needs)
    known.customers["bob"] = (True, 1)
    known.keep_bounded()
    assert not known.products
    assert not known.customers

"""Amounts are exact, and each has exactly one valid spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.money import Money


@given(st.integers(min_value=0, max_value=10**12))
def test_an_amount_survives_serialization(cents: int) -> None:
    assert Money.parse(str(Money(cents))) == cents


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.5",
        "01.00",
        "-1.00",
        "1.000",
        "1,00",
        "1.00\n",
        " 1.00",
        "1e2",
        "\u0661.\u0660\u0660",
        "NaN",
        "9" * 5000 + ".00",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="two digits"):
        Money.parse(text)

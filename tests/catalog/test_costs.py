"""What a month would cost: exact, and unknown rather than wrong."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.catalog.costs import Prices, Usage, monthly_cost

PRICES = Prices(input=Decimal("2.5"), output=Decimal(10), cache_read=Decimal("0.25"))


def test_a_month_is_each_kind_of_token_times_its_price() -> None:
    assert monthly_cost(Usage(input=10_000_000, output=1_000_000), PRICES) == Decimal(35)
    assert monthly_cost(Usage(input=10_000_000, output=0, cached=4_000_000), PRICES) == Decimal(16)
    assert monthly_cost(Usage(), PRICES) == 0


def test_an_unknown_price_makes_the_cost_unknown_only_where_it_is_needed() -> None:
    assert monthly_cost(Usage(input=1, output=1), Prices(input=Decimal(1))) is None
    assert monthly_cost(Usage(input=1_000_000), Prices(input=Decimal(1))) == 1
    assert monthly_cost(Usage(output=1), Prices()) is None


def test_cached_input_costs_as_fresh_where_no_price_of_the_cache_is_named() -> None:
    prices = Prices(input=Decimal(3), output=Decimal(0))
    assert monthly_cost(Usage(input=2_000_000, cached=2_000_000), prices) == 6


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12))
def test_more_from_the_cache_never_costs_more(tokens: int, cached: int, more: int) -> None:
    less = monthly_cost(Usage(input=tokens, cached=cached), PRICES)
    even_less = monthly_cost(Usage(input=tokens, cached=cached + more), PRICES)
    assert less is not None and even_less is not None and even_less <= less

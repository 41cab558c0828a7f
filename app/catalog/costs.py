"""What a month of use would cost: decimal arithmetic over the four prices, and nothing else."""

from __future__ import annotations

from decimal import Decimal

import msgspec

_MILLION = Decimal(1_000_000)


class Usage(msgspec.Struct, frozen=True):
    """Tokens a month. Of the input, `cached` were read from a provider's cache."""

    input: int = 0
    output: int = 0
    cached: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.input or self.output)


class Prices(msgspec.Struct, frozen=True):
    """USD per million tokens; None where nobody says."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None


def monthly_cost(usage: Usage, prices: Prices) -> Decimal | None:
    """USD a month; None where a price that it needs is unknown.

    Cached input costs the price of reading a cache, or that of fresh input where the provider names none.
    """
    cached = min(usage.cached, usage.input)
    parts = (
        (usage.input - cached, prices.input),
        (cached, prices.input if prices.cache_read is None else prices.cache_read),
        (usage.output, prices.output),
    )
    total = Decimal(0)
    for tokens, price in parts:
        if not tokens:
            continue
        if price is None:
            return None
        total += tokens * price / _MILLION
    return total

"""The script that makes the shipped catalog: how it reads and chooses prices for long input."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

from app.config import ROOT

sys.path.insert(0, str(ROOT / ".build"))
make_seed: Any = importlib.import_module("make_seed")
sys.path.remove(str(ROOT / ".build"))


def seed_claim(age: int, output: str, above: int = 0) -> Any:
    facts: dict[str, Any] = {"input_per_million": "1", "output_per_million": output}
    if above:
        facts["price_tiers"] = [{"above_tokens": above, "input_per_million": "2"}]
    return make_seed.Claim("l", age, "openai", "openai", f"gpt-9-{age}-{above}", facts)


@pytest.mark.parametrize(
    ("claims", "above"),
    [
        ([seed_claim(0, "4", 200_000)], 200_000),
        ([seed_claim(0, "4"), seed_claim(0, "4", 128_000)], 128_000),
        ([seed_claim(0, "4"), seed_claim(0, "5", 128_000)], None),
        ([seed_claim(0, "4"), seed_claim(1, "4", 128_000)], None),
    ],
    ids=["its own", "of the same price", "of another price", "ended since"],
)
def test_the_seed_takes_prices_for_long_input_from_the_newest_claim_of_the_same_price(
    claims: list[Any], above: int | None
) -> None:
    facts, sources = make_seed.choose_prices(claims, "openai")
    assert [tier["above_tokens"] for tier in facts.get("price_tiers", [])] == ([above] if above else [])
    assert ("price_tiers" in sources) == bool(above)


def test_the_seed_reads_litellms_prices_for_long_input_and_no_other_way_of_serving() -> None:
    entry = {
        "input_cost_per_token_above_200k_tokens": 6e-06,
        "output_cost_per_token_above_200k_tokens": 2.25e-05,
        "cache_read_input_token_cost_above_200k_tokens": 6e-07,
        "input_cost_per_token_above_200k_tokens_priority": 1e-05,
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1e-05,
        "input_cost_per_token_above_128k_tokens": 0,
    }
    prices = {"input_per_million": "6", "output_per_million": "22.5", "cache_read_per_million": "0.6"}
    assert make_seed.litellm_tiers(entry) == [{"above_tokens": 200_000, **prices}]

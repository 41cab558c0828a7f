"""A few inputs by chance into every reader and every form. All of them: `python -m tests.fuzz`."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.fuzz import inputs
from tests.fuzz.__main__ import fuzz, fuzz_all
from tests.fuzz.readers import Target

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_no_reader_and_no_form_fails_at_any_input() -> None:
    seed = random.randrange(10**6)  # no secret
    results = list(fuzz_all(1_500, seed))
    failures = [f"{result.name}: {result.failure}" for result in results if result.failure]
    assert not failures, f"seed {seed}\n" + "\n".join(failures)
    assert sum(result.inputs for result in results) > 1_200


def test_a_reader_that_fails_is_told_with_the_smallest_input() -> None:
    def check(value: Any) -> None:
        if isinstance(value, int) and value > 1_000:
            raise ZeroDivisionError("a defect")

    result = fuzz(Target("a broken reader", st.integers(), check), 500, 1)
    assert "ZeroDivisionError" in result.failure and "1001" in result.failure


def test_good_documents_are_changed_and_not_only_copied() -> None:
    seen: set[bytes] = set()
    fuzz(Target("changed", inputs.any_of([b'{"data": [{"id": "gpt-4o"}]}']), seen.add), 200, 1)
    assert len(seen) > 100 and any(b'"data"' in one and b"gpt-4o" not in one for one in seen)

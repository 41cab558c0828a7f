"""Models side by side: the facts aligned, the differences marked, and what a month costs."""

from __future__ import annotations

from decimal import Decimal

import pytest
from flask import Flask

from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.sync.run import SyncContext
from tests.conftest import Person, both_databases
from tests.sync.test_run import synced

MODELS = [
    SimModel("acme/cheap", prompt=Decimal("0.10"), completion=Decimal("0.40"), context=32_000),
    SimModel("acme/dear", prompt=Decimal(15), completion=Decimal(75), context=200_000, tools=True),
    SimModel("acme/varies", context=32_000),
    *(SimModel(f"acme/more-{n}", prompt=Decimal(1), completion=Decimal(1), context=1_000) for n in range(5)),
]


@pytest.fixture
def reader(app: Flask, alice: Person, simulator: Simulator, means: SyncContext) -> Person:
    simulator.set_models("openrouter", MODELS)
    alice.add_key("openrouter", None)
    synced(alice, means)
    return alice.sign_in()


def compared(person: Person, *ids: str, more: str = "", htmx: bool = False) -> str:
    query = "&".join(f"m=openrouter/{one}" for one in ids)
    answer = person.client.get(f"/models/compare?{query}{more}", headers={"HX-Request": "true"} if htmx else {})
    assert answer.status_code == 200, answer.text
    return answer.text


def row(page: str, title: str) -> str:
    """The row of this fact, with whether it differs."""
    before, _, after = page.partition(f'<th scope="row">{title}')
    assert after, title
    return before[-25:] + after.partition("</tr>")[0]


@both_databases
def test_facts_stand_in_one_row_with_differences_marked_and_the_best_named(reader: Person) -> None:
    page = compared(reader, "acme/cheap", "acme/dear", "acme/varies")
    context = row(page, "Context window")
    assert "differs" in context and context.index("32k") < context.index("200k")
    assert context.count(">longest<") == 1
    price = row(page, "Input price")
    assert price.index("$0.10") < price.index(">lowest<") < price.index("$15.00") < price.index("unknown")
    assert "differs" not in row(page, "Kind") and "differs" in row(page, "Tools")
    assert "Tools" not in compared(reader, "acme/cheap", "acme/varies", more="&only=differences")


def test_a_month_is_counted_for_each(reader: Person) -> None:
    first = row(compared(reader, "acme/cheap", "acme/dear", "acme/varies"), "A month")
    assert "$2.80" in first and "$450.00" in first and "price unknown" in first  # 20M and 2M to begin with
    asked = compared(reader, "acme/cheap", "acme/dear", more="&input=10M&output=1M", htmx=True)
    assert "<html" not in asked and asked.lstrip().startswith('<div id="models-compared"')
    assert "$1.40" in row(asked, "A month") and "$225.00" in row(asked, "A month")
    assert "Write the input tokens as a number" in compared(reader, "acme/cheap", more="&input=many")


def test_the_order_is_that_of_the_address_and_five_fit(reader: Person) -> None:
    page = compared(reader, "acme/dear", "acme/cheap")
    assert page.index("<code>acme/dear") < page.index("<code>acme/cheap")
    many = compared(reader, *(f"acme/more-{n}" for n in range(5)), "acme/dear")
    assert "5 models side by side" in many and "the first five are shown" in many and "acme/dear" not in many


def test_what_is_not_mine_is_told_and_left_out(reader: Person, bob: Person) -> None:
    page = compared(reader, "acme/cheap", "acme/nothing")
    assert "None of your keys lists acme/nothing" in page and "1 model side by side" in page
    assert "Nothing to compare yet" in compared(bob.sign_in(), "acme/cheap")
    for path in ("", "?m=", "?m=x", "?m=openrouter/%00", "?m=nobody/x", "?m=openrouter/%ED%A0%80"):
        assert reader.client.get(f"/models/compare{path}").status_code == 200, path

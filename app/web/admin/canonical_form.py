"""The form for a new canonical model: initial values, and parsing and validation of its input."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from app.catalog import humanize
from app.catalog.listing import CAPABILITIES, LIMITS, PRICES
from app.catalog.matching import CanonicalModel
from app.catalog.proposals import canonical_id_problem
from app.web.app.filters_catalog import field_title

_MAX_NAME_LENGTH = 200
_MAX_TOKENS = 1_000_000_000
_MAX_PRICE = Decimal(100_000)
_ANSWERS = {"": None, "yes": True, "no": False}


def form_values(model: CanonicalModel) -> dict[str, str]:
    """Field values for a model."""
    words = {None: "", True: "yes", False: "no"}
    return {
        "id": model.id,
        "name": model.name,
        "released_on": model.released_on,
        **{name: str(getattr(model, name) or "") for name in LIMITS},
        **{name: words[getattr(model, name)] for name in CAPABILITIES},
        **{name: "" if (price := getattr(model, name)) is None else f"{price:f}" for name in PRICES},
    }


def parse_form(form: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The parsed facts, and validation errors: field → message."""
    values = {name: value.strip() for name, value in form.items()}
    errors: dict[str, str] = {}
    canonical_id, name = values.get("id", "").lower(), values.get("name", "")
    if error := canonical_id_problem(canonical_id):
        errors["id"] = error
    if not name or len(name) > _MAX_NAME_LENGTH or not name.isprintable():
        errors["name"] = f"Write a name of at most {_MAX_NAME_LENGTH} characters on one line."
    facts: dict[str, Any] = {"id": canonical_id, "lab": canonical_id.partition("/")[0], "name": name}
    for parsers, names in (
        (_parse_limit, LIMITS),
        (_parse_answer, CAPABILITIES),
        (_parse_price, PRICES),
        (_parse_date, ("released_on",)),
    ):
        for field in names:
            try:
                facts[field] = parsers(values.get(field, ""))
            except ValueError as error:
                errors[field] = f"{field_title(field).capitalize()}: {error}"
    return facts, errors


def _parse_limit(text: str) -> int | None:
    if not text:
        return None
    count = humanize.parse_token_count(text)
    if count is None or not 0 < count <= _MAX_TOKENS:
        raise ValueError("write a number of tokens, such as 128000, 128k or 1M.")
    return count


def _parse_answer(text: str) -> bool | None:
    if text not in _ANSWERS:
        raise ValueError("choose yes, no or unknown.")
    return _ANSWERS[text]


def _parse_price(text: str) -> Decimal | None:
    if not text:
        return None
    try:
        price = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        price = Decimal("NaN")
    if not (price.is_finite() and 0 <= price <= _MAX_PRICE and price == round(price, 9)):
        raise ValueError("write USD per million tokens, such as 2.50.")
    return price


def _parse_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise ValueError("write a day, such as 2026-11-01.") from None

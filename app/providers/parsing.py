"""Careful readers for untrusted JSON: a wrong type reads as missing, nothing here trusts a provider.

`BadAnswer` condemns a whole answer, `BadModel` one entry of it; no other exception leaves a reader.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import Any

import msgspec

from app.catalog.listing import PRICES, ListedModel
from app.providers.contract import Page, SkippedEntry

JsonObject = Mapping[str, Any]

MAX_ID_LENGTH = 300
MAX_TEXT_LENGTH = 2_000
MAX_PRICE = Decimal(100_000)
"""USD per million tokens: no list price of 2026 comes near it, so a dearer one is a wrong unit."""
IMPLAUSIBLE_PRICE = Decimal("Infinity")
"""What a price beyond that reads as, until `page` leaves it out and says so."""
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_EARLIEST_S, _LATEST_S = _EARLIEST.timestamp(), _LATEST.timestamp()
_ONE, _THOUSAND, _MILLION = Decimal(1), Decimal(1_000), Decimal(1_000_000)
_NUMBER, _TEXT_OR_NUMBER = (int, float), (str, int, float)
_PRICE_QUANTUM = Decimal("0.000000001")


class InvalidResponse(Exception):
    """The answer is not a list of models. Its text is a clause that fits behind "the provider …"."""


class InvalidEntry(Exception):
    """One entry cannot be read. Its text is the reason."""


def decode_json(body: bytes) -> Any:
    """The JSON in `body`. Raises BadAnswer for HTML, truncated or too deeply nested JSON, and an empty body."""
    if not body.strip():
        raise InvalidResponse("sent an empty answer")
    if body.lstrip()[:1] == b"<":
        raise InvalidResponse("answered with a web page instead of a list of models")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        # Slower, but one number beyond all bounds does not condemn the whole answer here.
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidResponse("sent an answer that is not valid JSON") from None


def entries(answer: Any, key: str | None) -> list[Any]:
    """The array of models: under `key`, or the answer itself. Raises BadAnswer if there is none."""
    found = answer if key is None else answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise InvalidResponse(f"sent no “{key}” list" if key else "did not send a list")
    return found


def build_page(found: list[Any], read_one: Callable[[JsonObject], ListedModel], next_cursor: str | None = None) -> Page:
    """Read each entry; one that cannot be read is skipped with its reason, an implausible price is left out."""
    models: list[ListedModel] = []
    skipped: list[SkippedEntry] = []
    remarks: list[SkippedEntry] = []
    for number, entry in enumerate(found, 1):
        if not isinstance(entry, dict):
            skipped.append(SkippedEntry(f"entry {number}", "it is not an object"))
            continue
        try:
            model = read_one(entry)
        except InvalidEntry as bad:
            skipped.append(SkippedEntry(f"entry {number}", str(bad)))
            continue
        if _has_implausible_price(model):
            model, remark = _drop_implausible_prices(model)
            remarks.append(remark)
        models.append(model)
    return Page(models, next_cursor, skipped, remarks)


def _has_implausible_price(model: ListedModel) -> bool:
    return (
        model.input_per_million is IMPLAUSIBLE_PRICE
        or model.output_per_million is IMPLAUSIBLE_PRICE
        or model.cache_read_per_million is IMPLAUSIBLE_PRICE
        or model.cache_write_per_million is IMPLAUSIBLE_PRICE
    )


def _drop_implausible_prices(model: ListedModel) -> tuple[ListedModel, SkippedEntry]:
    dear = [name for name in PRICES if getattr(model, name) is IMPLAUSIBLE_PRICE]
    told = ", ".join(name.replace("_per_million", "").replace("_", " ") for name in dear)
    remark = SkippedEntry(model.id, f"its price for {told} is beyond belief and was left out")
    return msgspec.structs.replace(model, **dict.fromkeys(dear)), remark


def identifier(entry: JsonObject, key: str = "id") -> str:
    """The id, as the API wants it. Raises BadModel if it is missing, no text, too long or unprintable."""
    value = entry.get(key)
    found = value.strip() if isinstance(value, str) else ""
    if not found:
        raise InvalidEntry(f"it has no “{key}”")
    if len(found) > MAX_ID_LENGTH:
        raise InvalidEntry(f"its “{key}” is longer than {MAX_ID_LENGTH} characters")
    if not found.isprintable():
        raise InvalidEntry(f"its “{key}” has characters that cannot be printed")
    return found


def text(entry: JsonObject, key: str) -> str:
    """Text on one line, cut at 2,000 characters; empty when missing or no text."""
    value = entry.get(key)
    if not isinstance(value, str):
        return ""
    value = value[:MAX_TEXT_LENGTH]
    if "\n" in value:
        value = value.replace("\n\n", " ").replace("\n", " ")
    if not value.isprintable():
        # Few of its characters are odd, and `translate` would look at each of them.
        for odd in [character for character in set(value) if not character.isprintable()]:
            value = value.replace(odd, " ")
    return value.strip()


def integer(entry: JsonObject, key: str) -> int | None:
    """A positive whole number below 2^53; 0 is a common word for "unknown" and reads as missing."""
    value = entry.get(key)
    if not isinstance(value, _NUMBER) or isinstance(value, bool):
        return None
    return int(value) if 0 < value < 2**53 and value == int(value) else None


def flag(entry: JsonObject, key: str) -> bool | None:
    value = entry.get(key)
    return value if isinstance(value, bool) else None


def strings(entry: JsonObject, key: str) -> tuple[str, ...]:
    """A list of short texts, in their order; anything else in it is passed over."""
    value = entry.get(key)
    if not isinstance(value, list):
        return ()
    try:
        together = "".join(value)
    except TypeError:
        together = "\n"  # something in it is no text
    # Nearly always all of them are short printable texts, which one look at them together can tell.
    if together.isprintable() and all(value) and (len(together) <= 100 or _are_short(value)):
        return tuple(value)
    return tuple(word for word in value[:200] if isinstance(word, str) and 0 < len(word) <= 100 and word.isprintable())


def keys(entry: JsonObject, key: str) -> Sequence[Any]:
    """A list as it came, only to look names up in: whatever else it holds does no harm there."""
    value = entry.get(key)
    return value if isinstance(value, list) else ()


def _are_short(texts: list[str]) -> bool:
    return len(texts) <= 200 and max(map(len, texts)) <= 100


def mapping(entry: JsonObject, key: str) -> JsonObject:
    """A nested object, empty when missing."""
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def timestamp(entry: JsonObject, key: str) -> datetime | None:
    """Unix seconds, an ISO date or an ISO time, as aware UTC; None when missing, zero or absurd."""
    value = entry.get(key)
    if isinstance(value, _NUMBER):
        return datetime.fromtimestamp(value, UTC) if _EARLIEST_S <= value < _LATEST_S else None
    return _parse_timestamp(value) if isinstance(value, str) else None


def _parse_timestamp(value: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if _EARLIEST <= found < _LATEST else None


def price_per_token(entry: JsonObject, key: str) -> Decimal | None:
    """A price in USD per token, text or number, as USD per million; None when missing or implausible."""
    return _price(entry.get(key), _MILLION)


def price_per_million(entry: JsonObject, key: str) -> Decimal | None:
    """A price that is in USD per million tokens already."""
    return _price(entry.get(key), _ONE)


def price_per_thousand(entry: JsonObject, key: str) -> Decimal | None:
    """A price in USD per thousand tokens."""
    return _price(entry.get(key), _THOUSAND)


def price_in_unit(entry: JsonObject, key: str, unit: Decimal) -> Decimal | None:
    """A price per million tokens that counts in `unit` USD: Decimal("0.0001") where 12500 means $1.25."""
    return _price(entry.get(key), unit)


def _price(value: object, factor: Decimal) -> Decimal | None:
    if not isinstance(value, _TEXT_OR_NUMBER) or isinstance(value, bool):
        return None
    # A float goes through its shortest text, so that 0.1 stays 0.1.
    written = value if isinstance(value, str) else str(value)
    return _parse_price(written, factor) if len(written) <= 60 else None


@lru_cache(maxsize=16_384)
def _parse_price(written: str, factor: Decimal) -> Decimal | None:
    """Kept, because a listing has few distinct prices and the next one has the same."""
    try:
        amount = Decimal(written.strip()) * factor
        if not amount.is_finite() or amount < 0:
            return None  # -1 stands for "varies"
        if amount > MAX_PRICE:
            return IMPLAUSIBLE_PRICE
        amount = amount.quantize(_PRICE_QUANTUM).normalize()
    except DecimalException:
        return None
    return amount.quantize(_ONE) if amount == amount.to_integral_value() else amount

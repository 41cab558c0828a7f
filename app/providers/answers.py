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
from app.providers.contract import Page, Skipped

Entry = Mapping[str, Any]

LONGEST_ID = 300
LONGEST_TEXT = 2_000
DEAREST = Decimal(100_000)
"""USD per million tokens: no list price of 2026 comes near it, so a dearer one is a wrong unit."""
IMPLAUSIBLE = Decimal("Infinity")
"""What a price beyond that reads as, until `page` leaves it out and says so."""
_LATEST_YEAR = 2200
_ONE, _THOUSAND, _MILLION = Decimal(1), Decimal(1_000), Decimal(1_000_000)
_NUMBER, _TEXT_OR_NUMBER = (int, float), (str, int, float)
_PLACES = Decimal("0.000000001")


class BadAnswer(Exception):
    """The answer is not a list of models. Its text is a clause that fits behind "the provider …"."""


class BadModel(Exception):
    """One entry cannot be read. Its text is the reason."""


def document(body: bytes) -> Any:
    """The JSON in `body`. Raises BadAnswer for HTML, truncated or too deeply nested JSON, and an empty body."""
    if not body.strip():
        raise BadAnswer("sent an empty answer")
    if body.lstrip()[:1] == b"<":
        raise BadAnswer("answered with a web page instead of a list of models")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        # Slower, but one number beyond all bounds does not condemn the whole answer here.
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadAnswer("sent an answer that is not valid JSON") from None


def entries(answer: Any, key: str | None) -> list[Any]:
    """The array of models: under `key`, or the answer itself. Raises BadAnswer if there is none."""
    found = answer if key is None else answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise BadAnswer(f"sent no “{key}” list" if key else "did not send a list")
    return found


def page(found: list[Any], read_one: Callable[[Entry], ListedModel], next_cursor: str | None = None) -> Page:
    """Read each entry; one that cannot be read is skipped with its reason, an implausible price is left out."""
    models: list[ListedModel] = []
    skipped: list[Skipped] = []
    remarks: list[Skipped] = []
    for number, entry in enumerate(found, 1):
        if not isinstance(entry, dict):
            skipped.append(Skipped(f"entry {number}", "it is not an object"))
            continue
        try:
            model = read_one(entry)
        except BadModel as bad:
            skipped.append(Skipped(f"entry {number}", str(bad)))
            continue
        if IMPLAUSIBLE in _prices(model):
            dear = [name for name, price in zip(PRICES, _prices(model), strict=True) if price == IMPLAUSIBLE]
            model = msgspec.structs.replace(model, **dict.fromkeys(dear))
            told = ", ".join(name.replace("_per_million", "").replace("_", " ") for name in dear)
            remarks.append(Skipped(model.id, f"its price for {told} is beyond belief and was left out"))
        models.append(model)
    return Page(models, next_cursor, skipped, remarks)


def _prices(model: ListedModel) -> tuple[Decimal | None, ...]:
    return (
        model.input_per_million,
        model.output_per_million,
        model.cache_read_per_million,
        model.cache_write_per_million,
    )


def identifier(entry: Entry, key: str = "id") -> str:
    """The id, as the API wants it. Raises BadModel if it is missing, no text, too long or unprintable."""
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadModel(f"it has no “{key}”")
    if len(value) > LONGEST_ID:
        raise BadModel(f"its “{key}” is longer than {LONGEST_ID} characters")
    if not value.isprintable():
        raise BadModel(f"its “{key}” has characters that cannot be printed")
    return value.strip()


def text(entry: Entry, key: str) -> str:
    """Text on one line, cut at 2,000 characters; empty when missing or no text."""
    value = entry.get(key)
    if not isinstance(value, str):
        return ""
    broken = "\n" in value
    if broken:
        value = value.replace("\n\n", " ").replace("\n", " ")
    if not value.isprintable():
        broken = True
        value = value.translate({ord(character): " " for character in set(value) if not character.isprintable()})
    if broken:
        while "  " in value:
            value = value.replace("  ", " ")
        value = value.strip()
    return value[:LONGEST_TEXT].strip()


def whole(entry: Entry, key: str) -> int | None:
    """A positive whole number below 2^53; 0 is a common word for "unknown" and reads as missing."""
    value = entry.get(key)
    if value is None or isinstance(value, bool) or not isinstance(value, _NUMBER):
        return None
    return int(value) if 0 < value < 2**53 and value == int(value) else None


def flag(entry: Entry, key: str) -> bool | None:
    value = entry.get(key)
    return value if isinstance(value, bool) else None


def words(entry: Entry, key: str) -> tuple[str, ...]:
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


def names(entry: Entry, key: str) -> Sequence[Any]:
    """A list as it came, only to look names up in: whatever else it holds does no harm there."""
    value = entry.get(key)
    return value if isinstance(value, list) else ()


def _are_short(texts: list[str]) -> bool:
    return len(texts) <= 200 and max(map(len, texts)) <= 100


def section(entry: Entry, key: str) -> Entry:
    """A nested object, empty when missing."""
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def moment(entry: Entry, key: str) -> datetime | None:
    """Unix seconds, an ISO date or an ISO time, as aware UTC; None when missing, zero or absurd."""
    value = entry.get(key)
    if value is None:
        return None
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        elif isinstance(value, _NUMBER) and not isinstance(value, bool) and value > 0:
            found = datetime.fromtimestamp(value, UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return found if 2000 <= found.year < _LATEST_YEAR else None


def per_token(entry: Entry, key: str) -> Decimal | None:
    """A price in USD per token, text or number, as USD per million; None when missing or implausible."""
    return _price(entry.get(key), _MILLION)


def per_million(entry: Entry, key: str) -> Decimal | None:
    """A price that is in USD per million tokens already."""
    return _price(entry.get(key), _ONE)


def per_thousand(entry: Entry, key: str) -> Decimal | None:
    """A price in USD per thousand tokens."""
    return _price(entry.get(key), _THOUSAND)


def per_million_in(entry: Entry, key: str, unit: Decimal) -> Decimal | None:
    """A price per million tokens that counts in `unit` USD: Decimal("0.0001") where 12500 means $1.25."""
    return _price(entry.get(key), unit)


def _price(value: object, factor: Decimal) -> Decimal | None:
    if value is None or isinstance(value, bool) or not isinstance(value, _TEXT_OR_NUMBER):
        return None
    # A float goes through its shortest text, so that 0.1 stays 0.1.
    written = str(value)
    return _price_of(written, factor) if len(written) <= 60 else None


@lru_cache(maxsize=16_384)
def _price_of(written: str, factor: Decimal) -> Decimal | None:
    """Kept, because a listing has few distinct prices and the next one has the same."""
    try:
        amount = Decimal(written.strip()) * factor
        if not amount.is_finite() or amount < 0:
            return None  # -1 stands for "varies"
        if amount > DEAREST:
            return IMPLAUSIBLE
        amount = amount.quantize(_PLACES).normalize()
    except DecimalException:
        return None
    return amount.quantize(_ONE) if amount == amount.to_integral_value() else amount

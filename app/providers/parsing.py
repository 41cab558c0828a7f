"""Readers for untrusted JSON: a value of the wrong type reads as missing.

`InvalidResponse` rejects a whole answer, `InvalidEntry` one entry of it, `NotAModel` says that an entry was read but
offers no model; no other exception leaves a reader.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import Any

import msgspec

from app.catalog.listing import PRICES, ListedModel, round_price
from app.providers.contract import Page, SkippedEntry
from app.providers.paging import find_further_page, find_total

JsonObject = Mapping[str, Any]

MAX_ID_LENGTH = 300
MAX_TEXT_LENGTH = 2_000
MAX_PRICE = Decimal(100_000)
"""USD per million tokens. No list price of 2026 comes near it, so a higher one is in the wrong unit."""
IMPLAUSIBLE_PRICE = Decimal("Infinity")
"""Placeholder for a higher price until `build_page` drops it with a remark."""
_MIN_DATE, _MAX_DATE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_MIN_TIMESTAMP, _MAX_TIMESTAMP = _MIN_DATE.timestamp(), _MAX_DATE.timestamp()
_ONE, _MILLION = Decimal(1), Decimal(1_000_000)
_NUMBER, _TEXT_OR_NUMBER = (int, float), (str, int, float)


class InvalidResponse(Exception):
    """The answer is not a list of models. The message is a clause that follows "the provider …"."""


class WebPage(InvalidResponse):
    """The answer is HTML or XML."""


class InvalidEntry(Exception):
    """One entry cannot be read, so the answer is not the whole list. The message is the reason."""


class NotAModel(Exception):
    """One entry was read and offers no model to call, so the list is whole without it. The message is the reason."""


def decode_json(body: bytes) -> Any:
    """The JSON in `body`. Raises InvalidResponse for HTML, truncated or too deeply nested JSON, and an empty body."""
    if not body.strip():
        raise InvalidResponse("sent an empty answer")
    if body.lstrip()[:1] == b"<":
        raise WebPage("answered with a web page instead of a list of models")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        # Slower, but accepts numbers out of msgspec's range, so that one of them does not reject the whole answer.
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidResponse("sent an answer that is not valid JSON") from None


def build_page(
    array: list[Any],
    read_entry: Callable[[JsonObject], ListedModel],
    next_cursor: str | None = None,
    *,
    envelope: Any = None,
) -> Page:
    """Read each entry. An unreadable one is skipped with its reason, one that offers no model is ignored, an
    implausible price is dropped with a remark.

    next_cursor: of the provider's own. envelope: the decoded answer, which may announce a further page otherwise.
    """
    models: list[ListedModel] = []
    skipped: list[SkippedEntry] = []
    remarks: list[SkippedEntry] = []
    ignored: list[SkippedEntry] = []
    for number, entry in enumerate(array, 1):
        if not isinstance(entry, dict):
            skipped.append(SkippedEntry(f"entry {number}", "it is not an object"))
            continue
        try:
            model = read_entry(entry)
        except InvalidEntry as error:
            skipped.append(SkippedEntry(f"entry {number}", str(error)))
            continue
        except NotAModel as reason:
            ignored.append(SkippedEntry(f"entry {number}", str(reason)))
            continue
        if _has_implausible_price(model):
            model, remark = _drop_implausible_prices(model)
            remarks.append(remark)
        models.append(model)
    further = None if next_cursor else find_further_page(envelope, len(array), models[-1].id if models else "")
    return Page(models, next_cursor, skipped, remarks, ignored, further, find_total(envelope), len(array))


def _has_implausible_price(model: ListedModel) -> bool:
    return (  # spelt out: called for every model of every list
        model.input_per_million is IMPLAUSIBLE_PRICE
        or model.output_per_million is IMPLAUSIBLE_PRICE
        or model.cache_read_per_million is IMPLAUSIBLE_PRICE
        or model.cache_write_per_million is IMPLAUSIBLE_PRICE
    )


def _drop_implausible_prices(model: ListedModel) -> tuple[ListedModel, SkippedEntry]:
    fields = [name for name in PRICES if getattr(model, name) is IMPLAUSIBLE_PRICE]
    labels = ", ".join(name.replace("_per_million", "").replace("_", " ") for name in fields)
    remark = SkippedEntry(model.id, f"its price for {labels} is beyond belief and was left out")
    return msgspec.structs.replace(model, **dict.fromkeys(fields)), remark


def identifier(entry: JsonObject, key: str = "id") -> str:
    """The id as the API expects it. Raises InvalidEntry if it is missing, not text, too long or unprintable."""
    value = entry.get(key)
    model_id = value.strip() if isinstance(value, str) else ""
    if not model_id:
        raise InvalidEntry(f"it has no “{key}”")
    if len(model_id) > MAX_ID_LENGTH:
        raise InvalidEntry(f"its “{key}” is longer than {MAX_ID_LENGTH} characters")
    if not model_id.isprintable():
        raise InvalidEntry(f"its “{key}” has characters that cannot be printed")
    return model_id


def text(entry: JsonObject, key: str) -> str:
    """Text as one line of at most 2,000 characters; empty when missing or not text."""
    value = entry.get(key)
    if not isinstance(value, str):
        return ""
    value = value[:MAX_TEXT_LENGTH]
    if "\n" in value:
        value = value.replace("\n\n", " ").replace("\n", " ")
    if not value.isprintable():
        # Faster than `translate`, which looks at every character: few of them are unprintable.
        for unprintable in [character for character in set(value) if not character.isprintable()]:
            value = value.replace(unprintable, " ")
    return value.strip()


def integer(entry: JsonObject, key: str) -> int | None:
    """A positive integer below 2^53, as a number or as digits in a text; None for 0, which commonly means "unknown"."""
    value = entry.get(key)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 16:
        value = int(value)
    if not isinstance(value, _NUMBER) or isinstance(value, bool):
        return None
    return int(value) if 0 < value < 2**53 and value == int(value) else None


def flag(entry: JsonObject, key: str) -> bool | None:
    value = entry.get(key)
    return value if isinstance(value, bool) else None


def strings(entry: JsonObject, key: str) -> tuple[str, ...]:
    """A list of up to 200 short printable texts, in order; anything else in it is ignored."""
    value = entry.get(key)
    if not isinstance(value, list):
        return ()
    try:
        joined = "".join(value)
    except TypeError:
        joined = "\n"  # not all of them are texts
    # Fast path: nearly always all of them are short and printable, which their concatenation shows.
    if joined.isprintable() and all(value) and (len(joined) <= 100 or _are_short(value)):
        return tuple(value)
    return tuple(word for word in value[:200] if isinstance(word, str) and 0 < len(word) <= 100 and word.isprintable())


def _are_short(texts: list[str]) -> bool:
    return len(texts) <= 200 and max(map(len, texts)) <= 100


def keys(entry: JsonObject, key: str) -> Sequence[Any]:
    """A list as it is, for membership tests only: other values in it do no harm there."""
    value = entry.get(key)
    return value if isinstance(value, list) else ()


def mapping(entry: JsonObject, key: str) -> JsonObject:
    """A nested object, empty when missing."""
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def timestamp(entry: JsonObject, key: str) -> datetime | None:
    """Unix seconds, an ISO date or an ISO time, as aware UTC; None when missing or outside of 2000 to 2199."""
    value = entry.get(key)
    if isinstance(value, _NUMBER):
        return datetime.fromtimestamp(value, UTC) if _MIN_TIMESTAMP <= value < _MAX_TIMESTAMP else None
    return _parse_timestamp(value) if isinstance(value, str) else None


def _parse_timestamp(value: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(value)
        parsed = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return parsed if _MIN_DATE <= parsed < _MAX_DATE else None


def price_per_token(entry: JsonObject, key: str) -> Decimal | None:
    """A price in USD per token, text or number, as USD per million; None when missing or negative."""
    return _price(entry.get(key), _MILLION)


def price_per_million(entry: JsonObject, key: str) -> Decimal | None:
    """A price in USD per million tokens."""
    return _price(entry.get(key), _ONE)


def price_in_unit(entry: JsonObject, key: str, unit: Decimal) -> Decimal | None:
    """A price per million tokens counted in `unit` USD: Decimal("0.0001") where 12500 means $1.25."""
    return _price(entry.get(key), unit)


def _price(value: object, factor: Decimal) -> Decimal | None:
    if not isinstance(value, _TEXT_OR_NUMBER) or isinstance(value, bool):
        return None
    # A float goes through its shortest text, so that 0.1 stays 0.1.
    written = value if isinstance(value, str) else str(value)
    return _parse_price(written, factor) if len(written) <= 60 else None


@lru_cache(maxsize=16_384)
def _parse_price(written: str, factor: Decimal) -> Decimal | None:
    """Cached: a list has few distinct prices, and the next list has the same."""
    try:
        amount = Decimal(written.strip()) * factor
        if not amount.is_finite() or amount < 0:
            return None  # -1 means "varies"
        if amount > MAX_PRICE:
            return IMPLAUSIBLE_PRICE
        return round_price(amount)
    except DecimalException:
        return None

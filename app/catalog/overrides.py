"""Overrides: where one provider, or a person, differs from a canonical model.

An override is a statement about one canonical model at one provider, as JSON:

    {"provider_id": "groq", "model_id": "meta/llama-3.1-8b", "priority": 100, "reason": "Negotiated",
     "pricing": {"input": {"per_million_tokens": 0.05, "currency": "USD"}}, "limits": {"context_window": 32000}}

Sync writes and replaces those below priority 100; from 100 on they are a person's and kept. `effective` merges them
with listing and catalog, `override_files` reads and writes files of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec

from app.catalog.listing import CAPABILITIES, LIMITS, PRICES, ListedModel
from app.catalog.matching import CanonicalModel, CatalogIndex

MANUAL_PRIORITY = 100
"""Lowest priority of a person's override; sync writes and replaces those below."""
HIGHEST_PRIORITY = 1_000_000
FACT_FIELDS = (*LIMITS, *CAPABILITIES, *PRICES)
"""The fields that an override can set."""

Fact = int | bool | Decimal

_MAX_ID_LENGTH, _MAX_REASON_LENGTH = 300, 2_000
_MAX_TOKENS = 2**53 - 1
"""As for listed models: larger integers do not survive every JSON parser."""
_MAX_PRICE = Decimal(100_000)
"""USD per million tokens: a higher price is in the wrong unit."""
_PRICE_DECIMALS = 9
"""Decimals of a price in the database."""

# Spellings of public catalogs → ours; compared in lower case, with underscores.
_CAPABILITY_SPELLINGS = {name: name for name in CAPABILITIES} | {
    "function_calling": "tools",
    "function_call": "tools",
    "tool_use": "tools",
    "tool_call": "tools",
    "tool_calling": "tools",
    "image_recognition": "vision",
    "thinking": "reasoning",
    "structured_outputs": "structured_output",
    "stream": "streaming",
}


class OverrideError(ValueError):
    """An invalid override. The message is a sentence that names the field."""


class OverridePrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    per_million_tokens: Decimal
    currency: str = "USD"


class OverridePricing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    input: OverridePrice | None = None
    output: OverridePrice | None = None
    cache_read: OverridePrice | None = None
    cache_write: OverridePrice | None = None


class OverrideLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    context_window: int | None = None
    """Tokens, like `max_output_tokens`."""
    max_output_tokens: int | None = None


class Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Where one provider differs from one canonical model. Empty fields state nothing, and a part without any is None;
    without any part it only records that the provider serves the model.
    """

    provider_id: str
    """Slug of the provider."""
    model_id: str
    """Canonical id."""
    priority: int
    reason: str = ""
    pricing: OverridePricing | None = None
    limits: OverrideLimits | None = None
    capabilities: dict[str, bool] | None = None
    """Of `listing.CAPABILITIES`."""

    @property
    def is_manual(self) -> bool:
        return self.priority >= MANUAL_PRIORITY

    @property
    def facts(self) -> dict[str, Fact]:
        """The values that it sets, by field (`FACT_FIELDS`); prices in USD per million tokens."""
        limits, pricing, capabilities = (
            self.limits or OverrideLimits(),
            self.pricing or OverridePricing(),
            self.capabilities or {},
        )
        prices = (pricing.input, pricing.output, pricing.cache_read, pricing.cache_write)
        facts: dict[str, Fact | None] = {
            "context_length": limits.context_window,
            "max_output_tokens": limits.max_output_tokens,
            **{name: capabilities.get(name) for name in CAPABILITIES},
            **{name: price.per_million_tokens for name, price in zip(PRICES, prices, strict=True) if price},
        }
        return {name: fact for name, fact in facts.items() if fact is not None}


def build_override(
    provider: str, canonical_id: str, priority: int, facts: Mapping[str, Fact], reason: str = ""
) -> Override:
    """The override that sets `facts`, by field: the inverse of `Override.facts`. Raises OverrideError."""
    prices = {part: facts.get(field) for field, part in _PRICE_PARTS.items()}
    limits = {"context_window": facts.get("context_length"), "max_output_tokens": facts.get("max_output_tokens")}
    return parse_override(
        {
            "provider_id": provider,
            "model_id": canonical_id,
            "priority": priority,
            "reason": reason,
            "pricing": {name: {"per_million_tokens": price} for name, price in prices.items() if price is not None},
            "limits": limits,
            "capabilities": {name: facts[name] for name in CAPABILITIES if name in facts},
        }
    )


def parse_override(entry: Any) -> Override:
    """An override from decoded JSON, validated, with our names of capabilities and empty parts as None.

    Prices are Decimal, int or text, and exact; a float counts as its shortest text. Raises OverrideError.
    """
    if isinstance(entry, dict) and isinstance(entry.get("capabilities"), dict):
        entry = {**entry, "capabilities": dict(_normalize_capabilities(entry["capabilities"]))}
    try:
        override = msgspec.convert(entry, Override)
    except msgspec.ValidationError as error:
        raise OverrideError(_translate_error(str(error))) from None
    if problem := next(_problems(override), None):
        raise OverrideError(problem)
    return msgspec.structs.replace(
        override,
        pricing=None if override.pricing == OverridePricing() else override.pricing,
        limits=None if override.limits == OverrideLimits() else override.limits,
        capabilities=override.capabilities or None,
    )


def decode_override(entry: Mapping[str, Any]) -> Override:
    """An override that `to_json` produced, from storage; it was validated when it was stored."""
    return msgspec.convert(entry, Override)


def to_json(override: Override) -> dict[str, Any]:
    """The input of `parse_override`, with prices as text, so that a database keeps every digit."""
    builtins: dict[str, Any] = msgspec.to_builtins(override, builtin_types=())
    return builtins


def resolve_canonical_id(index: CatalogIndex, provider: str, name: str) -> str | None:
    """The canonical model with this id or plain name.

    Names of serving variants and dated snapshots do not resolve to the model.
    """
    if name in index.models:
        return name
    match = index.match(provider, ListedModel(id=name))
    return None if match.variant or match.snapshot else match.canonical_id


def derive_override(provider: str, canonical: CanonicalModel, listed: ListedModel) -> Override:
    """Where the provider's listing differs from the catalog, at priority 0; without any part if it does not.

    A field that the provider does not state is no difference; one that the catalog does not know is. So the canonical
    facts updated by the override are everything that is known of the model at this provider.
    """
    values = zip(FACT_FIELDS, _read_facts(listed), _read_facts(canonical), strict=True)
    different = {field: own for field, own, base in values if own is not None and own != base}
    pricing = OverridePricing(
        **{_PRICE_PARTS[field]: OverridePrice(different[field]) for field in PRICES if field in different}
    )
    limits = OverrideLimits(
        context_window=different.get("context_length"), max_output_tokens=different.get("max_output_tokens")
    )
    # Without the checks of `parse_override`: the providers' readers have validated these values.
    return Override(
        provider_id=provider,
        model_id=canonical.id,
        priority=0,
        pricing=None if pricing == OverridePricing() else pricing,
        limits=None if limits == OverrideLimits() else limits,
        capabilities={field: different[field] for field in CAPABILITIES if field in different} or None,
    )


_PRICE_PARTS = {field: field.removesuffix("_per_million") for field in PRICES}
_read_facts = attrgetter(*FACT_FIELDS)


def merge(overrides: Iterable[Override]) -> Override:
    """Merge the overrides of one model at one provider: per field the highest priority wins.

    Priority and reason are those of the highest. Raises ValueError without any override.
    """
    ordered = sorted(overrides, key=attrgetter("priority"))
    if not ordered:
        raise ValueError("no override to merge")
    highest = ordered[-1]
    if len(ordered) == 1:
        return highest
    facts: dict[str, Fact] = {}
    for override in ordered:
        facts |= override.facts
    return build_override(highest.provider_id, highest.model_id, highest.priority, facts, highest.reason)


# ------------------------------------------------------------------ validation


def _normalize_capabilities(capabilities: Mapping[Any, Any]) -> Iterator[tuple[str, bool]]:
    seen: dict[str, bool] = {}
    for name, value in capabilities.items():
        ours = _CAPABILITY_SPELLINGS.get(str(name).lower().replace("-", "_").replace(" ", "_"))
        if ours is None:
            known = ", ".join(CAPABILITIES)
            raise OverrideError(f"capabilities: {quote(name)} is none of {known}.")
        if not isinstance(value, bool):
            raise OverrideError(f"capabilities.{ours} has to be true or false.")
        if ours in seen and seen[ours] is not value:
            raise OverrideError(f"capabilities: {ours} is both true and false.")
        seen[ours] = value
        yield ours, value


_BREAKS = str.maketrans("\r\n\t", "   ")


def _problems(override: Override) -> Iterator[str]:
    yield from _name_problems(override)
    if not 0 <= override.priority <= HIGHEST_PRIORITY:
        yield f"priority has to be between 0 and {HIGHEST_PRIORITY}, not {override.priority}."
    limits = override.limits or OverrideLimits()
    for field, count in (("context_window", limits.context_window), ("max_output_tokens", limits.max_output_tokens)):
        if count is not None and not 1 <= count <= _MAX_TOKENS:
            yield f"limits.{field} has to be between 1 and {_MAX_TOKENS} tokens, not {count}."
    pricing = override.pricing or OverridePricing()
    for part in OverridePricing.__struct_fields__:
        price = getattr(pricing, part)
        if price is not None and (problem := _price_problem(price)):
            yield f"pricing.{part}.{problem}"


def _name_problems(override: Override) -> Iterator[str]:
    for field, text in (("provider_id", override.provider_id), ("model_id", override.model_id)):
        if not text or not text.isprintable() or len(text) > _MAX_ID_LENGTH:
            yield f"{field} has to be 1 to {_MAX_ID_LENGTH} printable characters."
    on_one_line = override.reason.translate(_BREAKS)
    if len(on_one_line) > _MAX_REASON_LENGTH or not on_one_line.isprintable():
        yield f"reason has to be at most {_MAX_REASON_LENGTH} printable characters."


def _price_problem(price: OverridePrice) -> str:
    amount = price.per_million_tokens
    if price.currency != "USD":
        return f"currency has to be USD, not {quote(price.currency)}: prices are kept in US dollars only."
    if not amount.is_finite() or amount.is_signed() or amount > _MAX_PRICE:
        return f"per_million_tokens has to be between 0 and {_MAX_PRICE} USD, not {str(amount)[:30]}."
    if -int(amount.as_tuple().exponent) > _PRICE_DECIMALS:
        return f"per_million_tokens has more than {_PRICE_DECIMALS} decimals: {str(amount)[:30]}."
    return ""


_TYPES = {
    "int": "a whole number",
    "decimal": "a number",
    "float": "a number with decimals",
    "str": "text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def _translate_error(message: str) -> str:
    """msgspec's validation error as a sentence: "limits.context_window has to be a whole number, …"."""
    message, _, path = message.partition(" - at `")
    path = path.rstrip("`").removeprefix("key in ").removeprefix("$").lstrip(".").replace("[...]", "")
    prefix = f"{path}." if path else ""
    if match := re.match(r"Object missing required field `(.*)`", message):
        return f"{prefix}{match.group(1)} is missing."
    if match := re.match(r"Object contains unknown field `(.*)`", message):
        return f"{quote(prefix + match.group(1))} is no field of an override."
    if match := re.match(r"Expected `(.*)`, got `(.*)`", message):
        expected, got = (name.removesuffix(" | null") for name in match.groups())
        got = "float" if got == "decimal" else got
        return f"{path or 'An override'} has to be {_TYPES.get(expected, expected)}, not {_TYPES.get(got, got)}."
    if message == "Invalid decimal string":
        return f"{path} has to be a number."
    return f"{path or 'An override'} cannot be read: {message}."


def quote(value: object) -> str:
    """Untrusted text for use in a sentence: short, on one line, without control characters."""
    return json.dumps(str(value)[:60])

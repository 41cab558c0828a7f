"""What one provider or a person says otherwise about a canonical model, and the effective facts that come of it.

An override is a statement about one canonical model at one provider, in the JSON form of the owner's documents:

    {"provider_id": "groq", "model_id": "meta/llama-3.1-8b", "priority": 100, "reason": "Negotiated",
     "pricing": {"input": {"per_million_tokens": 0.05, "currency": "USD"}}, "limits": {"context_window": 32000}}

Below priority 100 it is made by sync and replaced by it, from 100 on it is a person's and kept. The effective facts
are, field by field, the first that is known of: the person's, the provider's own listing, the canonical catalog.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import Any, Literal

import msgspec

from app.catalog.listing import CAPABILITIES, PRICES, Kind, ListedModel
from app.catalog.matching import CanonicalModel, CatalogIndex

MANUAL_PRIORITY = 100
"""Overrides below it are made by sync and replaced by it; from it on they are a person's and kept."""
HIGHEST_PRIORITY = 1_000_000
LIMITS = ("context_length", "max_output_tokens")
FACT_FIELDS = (*LIMITS, *CAPABILITIES, *PRICES)
"""The fields that an override can settle."""

Fact = int | bool | Decimal
FactSource = Literal["person", "provider", "catalog"]

_LONGEST_ID, _LONGEST_REASON = 300, 2_000
_MAX_TOKENS = 2**53 - 1
"""As for what the providers list: not every number beyond survives a reader of JSON."""
_MAX_PRICE = Decimal(100_000)
"""USD per million tokens: a dearer price is a wrong unit."""
_PRICE_DECIMALS = 9
"""Decimals of a price that the database keeps."""

# Spellings of the owner's documents and of the catalogs they come from, with case and dashes evened out.
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
    """An override that cannot be taken. Its text is a sentence for people that names the field."""


# ------------------------------------------------------------------ the documents' form


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
    """Tokens, as the next."""
    max_output_tokens: int | None = None


class Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One statement about one canonical model at one provider. Empty fields say nothing, and a part without any
    is None. Without any part it says only "this provider serves it"."""

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
        """What it settles, by our names of the fields (`FACTS`); prices in USD per million tokens."""
        limits, pricing, capabilities = (
            self.limits or OverrideLimits(),
            self.pricing or OverridePricing(),
            self.capabilities or {},
        )
        prices = (pricing.input, pricing.output, pricing.cache_read, pricing.cache_write)
        found: dict[str, Fact | None] = {
            "context_length": limits.context_window,
            "max_output_tokens": limits.max_output_tokens,
            **{name: capabilities.get(name) for name in CAPABILITIES},
            **{name: price.per_million_tokens for name, price in zip(PRICES, prices, strict=True) if price},
        }
        return {name: fact for name, fact in found.items() if fact is not None}


def from_facts(
    provider: str, canonical_id: str, priority: int, facts: Mapping[str, Fact], reason: str = ""
) -> Override:
    """The override that settles `facts`, by our names of the fields: the reverse of `Override.facts`.

    Raises OverrideError for a value that cannot be.
    """
    prices = {
        "input": facts.get("input_per_million"),
        "output": facts.get("output_per_million"),
        "cache_read": facts.get("cache_read_per_million"),
        "cache_write": facts.get("cache_write_per_million"),
    }
    limits = {"context_window": facts.get("context_length"), "max_output_tokens": facts.get("max_output_tokens")}
    return from_json(
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


def from_json(entry: Any) -> Override:
    """One override out of decoded JSON, checked, with capabilities by our names and empty parts as None.

    Prices come as Decimal, int or text, exactly as written; a float counts as its shortest text.
    Raises OverrideError with a sentence that names the field.
    """
    if isinstance(entry, dict) and isinstance(entry.get("capabilities"), dict):
        entry = {**entry, "capabilities": dict(_normalize_capabilities(entry["capabilities"]))}
    try:
        override = msgspec.convert(entry, Override)
    except msgspec.ValidationError as error:
        raise OverrideError(_translate_error(str(error))) from None
    if complaint := next(_problems(override), None):
        raise OverrideError(complaint)
    return msgspec.structs.replace(
        override,
        pricing=None if override.pricing == OverridePricing() else override.pricing,
        limits=None if override.limits == OverrideLimits() else override.limits,
        capabilities=override.capabilities or None,
    )


def from_state(entry: Mapping[str, Any]) -> Override:
    """What `to_json` made, back from where it was kept: checked when it was taken, not again."""
    return msgspec.convert(entry, Override)


def to_json(override: Override) -> dict[str, Any]:
    """As `from_json` takes it, with prices as text: so a database keeps every digit that was written."""
    found: dict[str, Any] = msgspec.to_builtins(override, builtin_types=())
    return found


# ------------------------------------------------------------------ files


class OverrideEntry(msgspec.Struct, frozen=True):
    """An override with the place it was read from, for those who have to complain about it."""

    override: Override
    place: str = ""
    """`overrides.json, entry 3 (line 27)`"""

    def error(self, sentence: str) -> OverrideError:
        """sentence: with a small first letter, since it may follow a colon."""
        return OverrideError(f"{self.place}: {sentence}" if self.place else sentence[:1].upper() + sentence[1:])


def parse_file(text: str, name: str) -> list[OverrideEntry]:
    """The overrides of a file: a JSON array of them, or a single one. name: what to call the file.

    Raises OverrideError for the first thing that is wrong, naming entry and line.
    """
    text = text.removeprefix("\ufeff")
    try:
        return [
            _parse_entry(value, f"{name}, entry {number} (line {line})")
            for number, (line, value) in enumerate(_iter_values(text), 1)
        ]
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise OverrideError(f"{name}, line {error.lineno}: this is not valid JSON ({reason}).") from None


def _parse_entry(value: Any, place: str) -> OverrideEntry:
    try:
        if isinstance(value, OverrideError):
            raise value
        return OverrideEntry(from_json(value), place)
    except OverrideError as error:
        raise OverrideError(f"{place}: {error}") from None


_to_bytes = msgspec.json.Encoder(decimal_format="number").encode


def format_file(overrides: Iterable[Override]) -> str:
    """A JSON array as `read_file` takes it, sorted by provider, model and priority; prices digit by digit."""
    ordered = sorted(overrides, key=attrgetter("provider_id", "model_id", "priority"))
    return msgspec.json.format(_to_bytes(ordered), indent=2).decode() + "\n"


def format_line(override: Override) -> str:
    """One object of `write_file`, on one line."""
    return _to_bytes(override).decode()


# ------------------------------------------------------------------ who is meant, who says what


def resolve_canonical_id(index: CatalogIndex, provider: str, said: str) -> str | None:
    """The canonical model that a person means by `said`: its id, or another plain name of it.

    A serving variant or a dated snapshot is not taken for the model: who names one means that one only.
    """
    if said in index.models:
        return said
    match = index.match(provider, ListedModel(id=said))
    return None if match.variant or match.snapshot else match.canonical_id


def is_first_party(provider: str, canonical: CanonicalModel) -> bool:
    """Whether the provider is the lab that made the model, so that the lab's prices and dates are its own."""
    return provider == canonical.lab or (canonical.lab, provider) in _FIRST_PARTY_ALIASES


_FIRST_PARTY_ALIASES = {
    ("google", "google-vertex"),
    ("moonshotai", "moonshot"),
    ("zhipuai", "zhipu"),
    ("togethercomputer", "together"),
}


def from_listing(provider: str, canonical: CanonicalModel, listed: ListedModel) -> Override:
    """What the provider says otherwise than the catalog, at priority 0; empty when it says nothing else.

    What the provider leaves unsaid is no difference. What it says where the catalog knows nothing is one: so the
    canonical facts with the override laid over them are all that is known of the model at this provider.
    """
    said = zip(FACT_FIELDS, _facts(listed), _facts(canonical), strict=True)
    different = {field: own for field, own, base in said if own is not None and own != base}
    pricing = OverridePricing(
        **{_PRICE_PARTS[field]: OverridePrice(different[field]) for field in PRICES if field in different}
    )
    limits = OverrideLimits(
        context_window=different.get("context_length"), max_output_tokens=different.get("max_output_tokens")
    )
    # Put together without the checks of `from_json`: the readers of the providers made them.
    return Override(
        provider_id=provider,
        model_id=canonical.id,
        priority=0,
        pricing=None if pricing == OverridePricing() else pricing,
        limits=None if limits == OverrideLimits() else limits,
        capabilities={field: different[field] for field in CAPABILITIES if field in different} or None,
    )


_PRICE_PARTS = {field: field.removesuffix("_per_million") for field in PRICES}


def merge(overrides: Iterable[Override]) -> Override:
    """Several overrides of one model at one provider as one: field by field the highest priority wins.

    Priority and reason are those of the highest. Raises ValueError where there is none.
    """
    ordered = sorted(overrides, key=attrgetter("priority"))
    if not ordered:
        raise ValueError("no override to lay over another")
    highest = ordered[-1]
    if len(ordered) == 1:
        return highest
    facts: dict[str, Fact] = {}
    for override in ordered:
        facts |= override.facts
    return from_facts(highest.provider_id, highest.model_id, highest.priority, facts, highest.reason)


# ------------------------------------------------------------------ effective facts


class EffectiveFacts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What holds for one model at one provider, everything known put together. None and empty mean unknown."""

    name: str
    kind: Kind
    context_length: int | None
    max_output_tokens: int | None
    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]
    streaming: bool | None
    tools: bool | None
    vision: bool | None
    reasoning: bool | None
    structured_output: bool | None
    input_per_million: Decimal | None
    output_per_million: Decimal | None
    cache_read_per_million: Decimal | None
    cache_write_per_million: Decimal | None
    deprecated_on: str
    """ISO day, as the next."""
    retires_on: str
    successor: str


def effective_facts(
    provider: str,
    canonical: CanonicalModel | None,
    listed: ListedModel,
    manual: Override | None = None,
    variant: str = "",
) -> EffectiveFacts:
    """The merge person → provider's own listing → catalog, field by field; the kind stays the listing's.

    The catalog's prices are the lab's list prices. They hold where the lab itself serves the model plainly (`is_own`,
    no variant); a reseller that names no price has an unknown price, not the lab's. A dated snapshot is priced as its
    model. A person's price is passed over for a free variant, which is another offer of the same provider.
    The lab's dates hold everywhere but for open weights, which others go on serving after the lab has stopped.

    variant: how the id says that it is served (`identity.Match.variant`).
    """
    facts = _merge_facts(provider, canonical, listed, variant)
    if manual:
        facts |= _manual_facts(manual, variant)
    base = canonical or _UNKNOWN
    dated = base if not base.open_weights or is_first_party(provider, base) else _UNKNOWN
    return EffectiveFacts(
        name=listed.name or base.name or listed.id,
        kind=listed.kind,
        input_modalities=listed.input_modalities or base.input_modalities,
        output_modalities=listed.output_modalities or base.output_modalities,
        deprecated_on=_iso_day(listed.deprecated_at) or dated.deprecated_on[:10],
        retires_on=_iso_day(listed.retires_at) or dated.retires_on[:10],
        successor=base.successor,
        **facts,
    )


def effective_sources(
    provider: str,
    canonical: CanonicalModel | None,
    listed: ListedModel,
    manual: Override | None = None,
    variant: str = "",
) -> dict[str, FactSource]:
    """Who says each field of `effective` for the same arguments; a field that nobody knows is not in it."""
    merged = effective_facts(provider, canonical, listed, manual, variant)
    settled = _manual_facts(manual, variant) if manual else {}
    said = {"deprecated_on": listed.deprecated_at, "retires_on": listed.retires_at, "successor": None}

    def source(field: str) -> FactSource:
        if field in settled:
            return "person"
        own = said[field] if field in said else getattr(listed, field)
        return "provider" if own not in (None, "", ()) else "catalog"

    known = (field for field in EffectiveFacts.__struct_fields__ if getattr(merged, field) not in (None, "", ()))
    sources = {field: source(field) for field in known}
    if not listed.name and not (canonical and canonical.name):
        sources["name"] = "provider"  # its id stands in
    return sources


_facts = attrgetter(*FACT_FIELDS)
_NO_PRICES = (None,) * len(PRICES)
_UNKNOWN = CanonicalModel(id="", lab="", name="")


def _merge_facts(provider: str, canonical: CanonicalModel | None, listed: ListedModel, variant: str) -> dict[str, Any]:
    """The provider's facts over the catalog's. Written for speed: a page of 12,000 models waits for it."""
    own = _facts(listed)
    if canonical is None:
        return dict(zip(FACT_FIELDS, own, strict=True))
    base = _facts(canonical)
    if variant or not is_first_party(provider, canonical):
        base = base[: -len(PRICES)] + _NO_PRICES
    return {
        field: mine if mine is not None else theirs for field, mine, theirs in zip(FACT_FIELDS, own, base, strict=True)
    }


def _manual_facts(manual: Override, variant: str) -> dict[str, Fact]:
    facts = manual.facts
    return {field: facts[field] for field in facts if field not in PRICES} if variant == "free" else facts


def _iso_day(moment: datetime | None) -> str:
    return moment.date().isoformat() if moment else ""


# ------------------------------------------------------------------ conflicts


class FactConflict(msgspec.Struct, frozen=True):
    """Provider and catalog both say something about a field, and not the same."""

    field: str
    catalog_value: Fact | str
    provider_value: Fact | str


_LIMIT_TOLERANCE = 1.05
"""128000 and 131072, 1000000 and 1048576 are two spellings of one limit."""
_HOST_DEPENDENT = frozenset({"streaming", "tools", "structured_output"})


def find_conflicts(
    provider: str,
    canonical: CanonicalModel | None,
    listed: ListedModel,
    manual: Override | None = None,
    variant: str = "",
) -> list[FactConflict]:
    """The disagreements worth an admin's look, in the order of the fields; none where a person settled the field.

    Either the catalog is wrong or the listing is, since both cannot be true:

    - one calls it a chat model, the other something definite else (the other kinds differ by how finely one sorts);
    - a capability that one claims and the other denies. That a host denies streaming, tools or structured output is
      no conflict: its serving software has to support them, whatever the model can;
    - a limit above the catalog's. One below it is a legitimate limit of that host; up to 5 % are two spellings of
      one number;
    - another price. What a reseller or a variant asks is its own business.

    The lab's own provider serves its model as it is, so there any difference is one, and only there is the price.
    """
    if canonical is None:
        return []
    own = is_first_party(provider, canonical) and not variant
    settled = _manual_facts(manual, variant) if manual else {}
    found = (
        [FactConflict("kind", canonical.kind, listed.kind)] if _has_kind_conflict(canonical.kind, listed.kind) else []
    )
    for field, theirs, mine in zip(FACT_FIELDS, _facts(canonical), _facts(listed), strict=True):
        if theirs is None or mine is None or theirs == mine or field in settled:
            continue
        if _contradicts(field, theirs, mine, own=own):
            found.append(FactConflict(field, theirs, mine))
    return found


def _has_kind_conflict(catalog: Kind, provider: Kind) -> bool:
    return catalog != provider and "chat" in (catalog, provider) and "other" not in (catalog, provider)


def _contradicts(field: str, catalog: Any, provider: Any, *, own: bool) -> bool:
    if field in LIMITS:
        return bool(provider > catalog * _LIMIT_TOLERANCE or (own and catalog > provider * _LIMIT_TOLERANCE))
    if field in PRICES:
        return own
    return own or bool(provider) or field not in _HOST_DEPENDENT


# ------------------------------------------------------------------ what is wrong with an override


def _normalize_capabilities(said: Mapping[Any, Any]) -> Iterator[tuple[str, bool]]:
    seen: dict[str, bool] = {}
    for name, value in said.items():
        ours = _CAPABILITY_SPELLINGS.get(str(name).lower().replace("-", "_").replace(" ", "_"))
        if ours is None:
            known = ", ".join(CAPABILITIES)
            raise OverrideError(f"capabilities: {_quote(name)} is none of {known}.")
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
        if price is not None and (complaint := _price_problem(price)):
            yield f"pricing.{part}.{complaint}"


def _name_problems(override: Override) -> Iterator[str]:
    for field, text in (("provider_id", override.provider_id), ("model_id", override.model_id)):
        if not text or not text.isprintable() or len(text) > _LONGEST_ID:
            yield f"{field} has to be 1 to {_LONGEST_ID} printable characters."
    on_one_line = override.reason.translate(_BREAKS)
    if len(on_one_line) > _LONGEST_REASON or not on_one_line.isprintable():
        yield f"reason has to be at most {_LONGEST_REASON} printable characters."


def _price_problem(price: OverridePrice) -> str:
    amount = price.per_million_tokens
    if price.currency != "USD":
        return f"currency has to be USD, not {_quote(price.currency)}: prices are kept in US dollars only."
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
    """msgspec's message about a wrong type, in our words: "limits.context_window has to be a whole number, …"."""
    message, _, path = message.partition(" - at `")
    path = path.rstrip("`").removeprefix("key in ").removeprefix("$").lstrip(".").replace("[...]", "")
    prefix = f"{path}." if path else ""
    if found := re.match(r"Object missing required field `(.*)`", message):
        return f"{prefix}{found.group(1)} is missing."
    if found := re.match(r"Object contains unknown field `(.*)`", message):
        return f"{_quote(prefix + found.group(1))} is no field of an override."
    if found := re.match(r"Expected `(.*)`, got `(.*)`", message):
        wanted, got = (one.removesuffix(" | null") for one in found.groups())
        got = "float" if got == "decimal" else got
        return f"{path or 'An override'} has to be {_TYPES.get(wanted, wanted)}, not {_TYPES.get(got, got)}."
    if message == "Invalid decimal string":
        return f"{path} has to be a number."
    return f"{path or 'An override'} cannot be read: {message}."


def _quote(value: object) -> str:
    """A stranger's text inside a sentence: short, on one line, with nothing in it that a terminal would obey."""
    return json.dumps(str(value)[:60])


# ------------------------------------------------------------------ JSON with places


def _build_object(pairs: list[tuple[str, Any]]) -> Any:
    """An object; or, handed on as a value, the complaint that it says something twice."""
    found = dict(pairs)
    for _, value in pairs:
        if isinstance(value, OverrideError):
            return value
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        return OverrideError(f"{_quote(twice)} is there twice.")
    return found


def _parse_int(digits: str) -> int:
    return int(digits[:30])  # what is longer is beyond all limits anyway, and slow to make


def _parse_decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal("NaN")  # an exponent of twenty digits


_json = json.JSONDecoder(object_pairs_hook=_build_object, parse_float=_parse_decimal, parse_int=_parse_int)
_SPACE = re.compile(r"[ \t\r\n]*")


def _iter_values(text: str) -> Iterator[tuple[int, Any]]:
    """Each value of a JSON array with its line; a text that is one object counts as an array of one.

    Raises json.JSONDecodeError where the text is no such thing.
    """
    counted, line = 0, 1
    end = position = _skip_whitespace(text, 0)
    is_array = text.startswith("[", position)
    if is_array:
        end = position = _skip_whitespace(text, position + 1)
    while not (is_array and end == position and text.startswith("]", position)):
        value, end = _decode_value(text, position)
        line += text.count("\n", counted, position)
        counted = position
        yield line, value
        end = _skip_whitespace(text, end)
        if not (is_array and text.startswith(",", end)):
            break
        position = _skip_whitespace(text, end + 1)
    if is_array:
        if not text.startswith("]", end):
            raise json.JSONDecodeError("Expecting ',' or ']'", text, end)
        end = _skip_whitespace(text, end + 1)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _decode_value(text: str, position: int) -> tuple[Any, int]:
    try:
        return _json.raw_decode(text, position)
    except RecursionError:
        raise json.JSONDecodeError("Nested too deeply", text, position) from None


def _skip_whitespace(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position

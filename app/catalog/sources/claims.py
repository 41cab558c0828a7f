"""Claims: what one source states about one id at one provider; and whether to accept a source's document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from operator import attrgetter

import msgspec

from app.catalog.kind import classify_model
from app.catalog.listing import PRICES, Kind, ModelFacts, PriceTier, round_price
from app.catalog.sources.names import FIRST_PARTY, KNOWN_LABS, LAB_OF_SLUG, NOT_MODELS, ROUTER_LABS
from app.catalog.vocabulary import LABS

FORMAT = 2
"""Format of stored claims: raise it when a parser reads more, so that every source is fetched in full again."""
MAX_ID_LENGTH = 300
_MAX_NAME_LENGTH = 200
_MAX_CHAT_PRICE = Decimal(2_000)
"""USD per million tokens. The most expensive chat model so far (o1-pro) cost 600; a price in the wrong unit is a
million times too high or too low."""
_MAX_PRICE = Decimal(100_000)
_MAX_CONTEXT = 100_000_000
_MAX_TIERS = 10
_MAX_FAULT_RATE = 0.01
_MIN_SIZE_RATIO = 0.8
_MAX_NAMED_FAULTS = 3
_DATE = re.compile(r"(19|20)\d\d-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?")
# Providers that are a lab's own and serve other labs' models too: their ids do not imply the lab.
_MULTI_LAB_HOSTS = frozenset({"bedrock", "groq", "alibaba"})


class Claim(ModelFacts, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What a source states about one id at one provider, in the terms of `CanonicalModel`."""

    provider: str
    """Our slug if the provider is one of ours, otherwise the source's."""
    model_id: str
    lab: str = ""
    """The maker, if the source itself states it: only such a claim may introduce an unknown model."""
    canonical_slug: str = ""
    hugging_face_id: str = ""
    kind: Kind | None = None
    name: str = ""
    family: str = ""
    price_tiers: tuple[PriceTier, ...] = ()
    """The lowest bound first, as `sort_tiers` returns them."""
    released_on: str = ""
    knowledge_cutoff: str = ""
    retires_on: str = ""
    open_weights: bool | None = None
    vanished_on: str = ""
    """ISO date on which the source no longer had it; empty while it has. Claims are kept because models outlive
    catalogs."""


class SourceFault(msgspec.Struct, frozen=True):
    """A rejected entry and the reason."""

    entry: str
    reason: str


class ParsedSource(msgspec.Struct, frozen=True):
    claims: tuple[Claim, ...]
    """Sorted by provider and id, each pair once, without implausible ones."""
    faults: tuple[SourceFault, ...]
    entries: int
    """Number of entries in the document, of interest or not."""


class SourceRejected(ValueError):
    """A rejected document. The message is a clause that follows the source's name."""

    code = "refused"


class SourceShrunk(SourceRejected):
    code = "shrunk"


# ------------------------------------------------------------------ parsing


def decode_object(body: bytes, noun: str = "models") -> dict[str, msgspec.Raw]:
    """The members of the JSON object in `body`, undecoded. Raises SourceRejected for anything else."""
    head = body.lstrip()[:1]
    if not head:
        raise SourceRejected("sent an empty document")
    if head == b"<":
        raise SourceRejected(f"answered with a web page instead of a catalog of {noun}")
    try:
        str(body, "utf-8")  # a Raw is validated only when it is decoded
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise SourceRejected("sent JSON that is not an object") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise SourceRejected("sent a document that is not valid JSON") from None


def build_parsed_source(claims: Iterable[Claim], faults: Iterable[SourceFault], entries: int) -> ParsedSource:
    """Sorts, keeps the first of several claims about one id, and rejects implausible ones."""
    by_id: dict[tuple[str, str], Claim] = {}
    rejected = list(faults)
    for claim in claims:
        if problem := _problem(claim):
            rejected.append(SourceFault(f"{claim.provider}/{claim.model_id}"[:MAX_ID_LENGTH], problem))
        else:
            by_id.setdefault((claim.provider, claim.model_id), claim)
    ordered = tuple(by_id[key] for key in sorted(by_id))
    return ParsedSource(ordered, tuple(sorted(rejected, key=attrgetter("entry", "reason"))), entries)


def type_fault(entry: str, error: Exception) -> SourceFault:
    """A fault with the decoder's message, without any of the entry's values."""
    return SourceFault(entry[:MAX_ID_LENGTH], str(error)[:200])


def _problem(claim: Claim) -> str:
    """Why a claim is implausible; empty if it is not."""
    if not 0 < len(claim.model_id) <= MAX_ID_LENGTH or not claim.model_id.isprintable():
        return "its id is empty, too long or unprintable"
    if max(claim.context_length or 0, claim.max_output_tokens or 0) > _MAX_CONTEXT:
        return "a context of more than 100 million tokens"
    if problem := _tier_problem(claim.price_tiers):
        return problem
    prices = (getattr(priced, field) for priced in (claim, *claim.price_tiers) for field in PRICES)
    problems = (_price_problem(claim, price) for price in prices if price is not None)
    return next(filter(None, problems), "")


def _tier_problem(price_tiers: Sequence[PriceTier]) -> str:
    bounds = [tier.above_tokens for tier in price_tiers]
    if len(bounds) > _MAX_TIERS:
        return f"more than {_MAX_TIERS} price tiers"
    if any(not 0 < bound <= _MAX_CONTEXT for bound in bounds):
        return "a price tier that begins at no such length of input"
    return "two prices for the same length of input" if len(set(bounds)) < len(bounds) else ""


def _price_problem(claim: Claim, price: Decimal) -> str:
    if not price.is_finite() or price > _MAX_PRICE:
        return "a price beyond all bounds"
    if price < 0:
        return "a price below zero"
    if price <= _MAX_CHAT_PRICE:
        return ""
    kind = claim.kind or classify_model(claim.model_id, outputs=claim.output_modalities).kind
    return f"a price of {price:,.0f} USD per million tokens" if kind == "chat" else ""


# ------------------------------------------------------------------ small conversions


def price_per_million(per_token: Decimal | None) -> Decimal | None:
    """A price per token as a price per million. More than a dollar per token becomes infinite, for `_problem` to
    reject.
    """
    if per_token is None or not per_token.is_finite():
        return per_token
    return normalize_price(per_token * 1_000_000) if abs(per_token) <= 1 else Decimal("Infinity")


def normalize_price(price: Decimal | None) -> Decimal | None:
    """As `round_price`. An absurd price stays as it is, for `_problem` to reject."""
    if price is None or not price.is_finite() or abs(price) > _MAX_PRICE:
        return price
    return round_price(price)


def sort_tiers(tiers: Iterable[PriceTier]) -> tuple[PriceTier, ...]:
    """Sorted by bound, without tiers that have no price above zero."""
    priced = (tier for tier in tiers if tier.input_per_million or tier.output_per_million)
    return tuple(sorted(priced, key=attrgetter("above_tokens")))


def positive(value: int | None) -> int | None:
    """None for 0, which commonly means "unknown"."""
    return value if value and value > 0 else None


def iso_date(value: str | None) -> str:
    """`2025-04` or `2025-04-30`; empty for other formats, which may be ambiguous."""
    return value if value and _DATE.fullmatch(value) else ""


def single_line(value: str | None) -> str:
    """Text as one printable line of at most 200 characters."""
    if not value:
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value[:1_000]).split())[:_MAX_NAME_LENGTH]


def printable_words(values: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in values or () if 0 < len(word) <= 40 and word.isprintable()))


def first_party_lab(provider: str, model_id: str) -> str:
    """The lab of an id at the lab's own provider; empty at other providers."""
    lab = _infer_lab(provider, model_id)
    return lab if provider in FIRST_PARTY.get(lab, ()) else ""


def lab_from_path(model_id: str) -> str:
    """The lab of `lab/model` if it is known; empty for routers and pointers."""
    if model_id.startswith("~") or model_id.count("/") != 1:
        return ""
    prefix, plain_id = model_id.lower().split("/")
    lab = LABS.get(prefix, prefix)
    known = lab in KNOWN_LABS and lab not in ROUTER_LABS and not NOT_MODELS.match(plain_id)
    return lab if known else ""


def _infer_lab(provider: str, model_id: str) -> str:
    plain_id = model_id.lower().rpartition("/")[2]
    if NOT_MODELS.match(plain_id) or "*" in plain_id:
        return ""
    if prefix := model_id.lower().rpartition("/")[0].rpartition("/")[2]:
        return LABS.get(prefix, prefix)
    for pattern, lab in LAB_OF_SLUG:
        if pattern.match(plain_id):
            return lab
    if provider in _MULTI_LAB_HOSTS:
        return ""
    return next((lab for lab, providers in FIRST_PARTY.items() if provider in providers), "")


# ------------------------------------------------------------------ acceptance


def check(reading: ParsedSource, known: int, *, accept_shrunk: bool = False) -> str:
    """The rejected entries as a sentence; empty if there are none. Raises SourceRejected or SourceShrunk.

    known: number of claims of the last good document. More than 1 % of wrong entries means that something is wrong with
    all of them; a catalog that lost more than a fifth at once has lost them by mistake.
    """
    if not reading.claims and not reading.faults:
        raise SourceRejected("lists no models")
    if len(reading.faults) > _MAX_FAULT_RATE * reading.entries:
        raise SourceRejected(
            f"has {len(reading.faults)} wrong entries among {reading.entries}, more than 1 %: "
            f"{_describe_faults(reading.faults)}"
        )
    if len(reading.claims) < _MIN_SIZE_RATIO * known and not accept_shrunk:
        raise SourceShrunk(f"shrank from {known} to {len(reading.claims)} models, below 80 %")
    if not reading.faults:
        return ""
    count = len(reading.faults)
    return (
        f"{count} wrong {'entry was' if count == 1 else 'entries were'} left out: {_describe_faults(reading.faults)}."
    )


def _describe_faults(faults: Sequence[SourceFault]) -> str:
    named = "; ".join(f"{fault.entry} ({fault.reason})" for fault in faults[:_MAX_NAMED_FAULTS])
    return named + ("; …" if len(faults) > _MAX_NAMED_FAULTS else "")


# ------------------------------------------------------------------ storage


def retain_claims(claims: Iterable[Claim], before: Iterable[Claim], today: str) -> tuple[Claim, ...]:
    """The claims to store: the new ones, and for a year those that introduced a model and have vanished.

    Sources drop models that our users' keys still list; those must not become unknown.
    """
    retained = {(claim.provider, claim.model_id): claim for claim in claims}
    for claim in before:
        key = claim.provider, claim.model_id
        if key not in retained and claim.lab and not _is_expired(claim.vanished_on, today):
            retained[key] = claim if claim.vanished_on else msgspec.structs.replace(claim, vanished_on=today)
    return tuple(retained[key] for key in sorted(retained))


def _is_expired(vanished_on: str, today: str) -> bool:
    return bool(vanished_on) and f"{int(vanished_on[:4]) + 1}{vanished_on[4:]}" < today


_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")
_decoder = msgspec.json.Decoder(tuple[Claim, ...])


def serialize(claims: Sequence[Claim]) -> bytes:
    """Claims as JSON; equal bytes for equal claims."""
    return _encoder.encode(claims)


def deserialize(content: bytes) -> tuple[Claim, ...]:
    """Read back what `packed` wrote. Raises ValueError for anything else."""
    return _decoder.decode(content)

"""A model as one provider lists it, and a whole listing, addressed by its content."""

from __future__ import annotations

import hashlib
from datetime import datetime
from decimal import Context, Decimal
from itertools import pairwise
from operator import attrgetter
from typing import Literal, get_args

import msgspec

FORMAT = b"\x01"
"""First byte of every canonical form: raise it when the form itself changes, not when a field is added."""

LIMITS = ("context_length", "max_output_tokens")
CAPABILITIES = ("streaming", "tools", "vision", "reasoning", "structured_output")
PRICES = ("input_per_million", "output_per_million", "cache_read_per_million", "cache_write_per_million")

_PRICE_CONTEXT = Context(prec=6)
_SMALLEST_PRICE = Decimal("0.000000001")
_ONE = Decimal(1)
MODALITIES = ("text", "image", "audio", "video", "file", "pdf")
"""The order in which modalities are written; others follow, by name."""

Kind = Literal[
    "chat",
    "completion",
    "embedding",
    "rerank",
    "image",
    "video",
    "audio",
    "transcription",
    "realtime",
    "moderation",
    "ocr",
    "other",
]
KINDS: tuple[str, ...] = get_args(Kind)


def round_price(price: Decimal) -> Decimal:
    """Six significant digits without trailing zeros, so that a float's noise (0.180000003) is no other price."""
    rounded = _PRICE_CONTEXT.plus(price).quantize(_SMALLEST_PRICE).normalize()
    return rounded.quantize(_ONE) if rounded == rounded.to_integral_value() else rounded


class PriceTier(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Prices of a request whose input is longer than `above_tokens`: of all of it, not only of what exceeds that."""

    above_tokens: int
    input_per_million: Decimal | None = None
    """USD per million tokens, as all four prices; None means not stated."""
    output_per_million: Decimal | None = None
    cache_read_per_million: Decimal | None = None
    cache_write_per_million: Decimal | None = None

    def __str__(self) -> str:
        prices = ((name.removesuffix("_per_million"), getattr(self, name)) for name in PRICES)
        stated = ", ".join(f"{name.replace('_', ' ')} ${price:f}" for name, price in prices if price is not None)
        return f"above {self.above_tokens:,} input tokens: {stated or 'unknown'}"


class ModelFacts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """Limits, modalities, capabilities and prices: declared here for every type that has them. None is "not stated"."""

    context_length: int | None = None
    """Tokens, prompt and answer together."""
    max_output_tokens: int | None = None
    input_modalities: tuple[str, ...] = ()
    output_modalities: tuple[str, ...] = ()
    streaming: bool | None = None
    tools: bool | None = None
    vision: bool | None = None
    reasoning: bool | None = None
    structured_output: bool | None = None
    input_per_million: Decimal | None = None
    """USD per million tokens, as all four prices. Zero means free."""
    output_per_million: Decimal | None = None
    cache_read_per_million: Decimal | None = None
    cache_write_per_million: Decimal | None = None

    @property
    def modality(self) -> str:
        """`text+image->text`, in the order of MODALITIES; empty where nothing is stated."""
        if not (self.input_modalities or self.output_modalities):
            return ""
        sides = (sorted(side, key=_modality_rank) for side in (self.input_modalities, self.output_modalities))
        return "->".join("+".join(side) for side in sides)

    @property
    def capabilities(self) -> list[str]:
        """Names of the capabilities that are stated."""
        return [name for name in CAPABILITIES if getattr(self, name)]


def _modality_rank(word: str) -> tuple[int, str]:
    return (MODALITIES.index(word) if word in MODALITIES else len(MODALITIES), word)


class _ListedIdentity(ModelFacts, frozen=True, omit_defaults=True, gc=False):
    # Fields that are not keyword-only come first, so in the canonical form these still precede the facts.
    id: str
    """As the provider's API expects it in requests."""
    name: str = ""
    kind: Kind = "chat"
    kind_reason: str = ""
    """Why it counts as that kind, as a short clause that a person can check."""


class ListedModel(_ListedIdentity, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One model of one answer, in our words. Empty fields mean "the provider does not say", never "no"."""

    created_at: datetime | None = None
    deprecated_at: datetime | None = None
    retires_at: datetime | None = None
    """When the provider stops serving it, where it says so."""
    canonical_slug: str = ""
    """The provider's own link to the model behind this id (OpenRouter)."""
    hugging_face_id: str = ""
    private: bool = False
    """Belongs to the key's owner (a fine-tune): stays in that owner's listings, never in the shared table."""
    documented: str = ""
    """Date of the documentation that names the model, where the provider does not list it; else empty."""
    description: str = ""
    """Prose, reworded at any time: shown, but not part of the fingerprint."""


class Listing(msgspec.Struct, frozen=True):
    """A provider's whole normalised answer for one key: models sorted by id, each id once."""

    provider: str
    models: tuple[ListedModel, ...]

    def chat(self) -> list[ListedModel]:
        return [model for model in self.models if model.kind == "chat"]


def build_listing(provider: str, models: list[ListedModel]) -> Listing:
    """Sorts by id and drops the prose. Raises ValueError for an id that occurs twice: readers have to choose one."""
    ordered = sorted(models, key=attrgetter("id"))
    for one, other in pairwise(ordered):
        if one.id == other.id:
            raise ValueError(f"{provider} lists {one.id!r} twice")
    without_prose = [
        msgspec.structs.replace(model, description="") if model.description else model for model in ordered
    ]
    return Listing(provider, tuple(without_prose))


_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")
_decoder = msgspec.json.Decoder(Listing)


def canonical_form(listing: Listing) -> bytes:
    """The listing as bytes: equal for equal listings, and unchanged when a later version adds fields."""
    return FORMAT + _encoder.encode(listing)


def fingerprint(form: bytes) -> bytes:
    """SHA-256 (32 bytes) of a canonical form: the listing's address."""
    return hashlib.sha256(form).digest()


def parse_canonical_form(form: bytes) -> Listing:
    """The listing that `canonical_form` encoded. Raises ValueError for another format or damaged bytes."""
    if form[:1] != FORMAT:
        raise ValueError(f"listing format {form[:1]!r} is not known to this version")
    return _decoder.decode(form[1:])

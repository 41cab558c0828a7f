"""The list in the shapes that other programs poll: OpenAI's `/v1/models`, and models.dev's `api.json`.

Both hold the chat models that the caller's keys can really use, and with `?all=yes` all others too. An id of
OpenAI's list is "provider/model id", since two providers may call their models alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from itertools import groupby
from typing import Annotated, Literal

import msgspec
from flask import Blueprint
from msgspec import UNSET, Meta, UnsetType

from app.api.auth import Caller
from app.api.operations import operation
from app.api.problems import OpenAIError, Refused
from app.catalog.matching import CanonicalModel
from app.extensions import csrf
from app.store import catalog
from app.store.queries.usable import ProviderEndpoint, UsableModel, list_usable
from app.web.app import filters

blueprint = Blueprint("elsewhere", __name__)
csrf.exempt(blueprint)  # nothing here is unsafe

_NPM = {
    "aihubmix": "@aihubmix/ai-sdk-provider",
    "anthropic": "@ai-sdk/anthropic",
    "azure": "@ai-sdk/azure",
    "cerebras": "@ai-sdk/cerebras",
    "cohere": "@ai-sdk/cohere",
    "deepinfra": "@ai-sdk/deepinfra",
    "google": "@ai-sdk/google",
    "google-vertex": "@ai-sdk/google-vertex",
    "groq": "@ai-sdk/groq",
    "mistral": "@ai-sdk/mistral",
    "openai": "@ai-sdk/openai",
    "perplexity": "@ai-sdk/perplexity",
    "together": "@ai-sdk/togetherai",
    "vercel-ai-gateway": "@ai-sdk/gateway",
    "xai": "@ai-sdk/xai",
}
"""By which package a program speaks with a provider, where models.dev names one of the provider's own."""
_COMPATIBLE = "@ai-sdk/openai-compatible"
_MODALITIES = ("text", "image", "audio", "video", "pdf")
_DAY = r"^\d{4}-\d{2}(-\d{2})?$"

Modality = Literal["text", "image", "audio", "video", "pdf"]
Day = Annotated[str, Meta(pattern=_DAY)]
Price = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class AllQuery(msgspec.Struct, frozen=True):
    """Parameters that are not ours are passed over: these clients send what they like."""

    all: Annotated[Literal["", "yes"], Meta(description="yes: models of every kind, not only chat.")] = ""


# ------------------------------------------------------------------ OpenAI's


class OpenAIModel(msgspec.Struct, frozen=True):
    id: Annotated[str, Meta(description="The provider's slug, a slash, and the id under which the provider knows it.")]
    created: Annotated[
        int,
        Meta(description="Unix time of its making or, where nobody says, of when it was first listed here; else 0."),
    ]
    owned_by: Annotated[str, Meta(description="The lab that made it, as far as it is known, else the provider.")]
    object: Literal["model"] = "model"


class OpenAIModels(msgspec.Struct, frozen=True):
    data: list[OpenAIModel]
    object: Literal["list"] = "list"


@blueprint.get("/v1/models")
@operation(OpenAIModels, tag="For other programs", query=AllQuery, errors=OpenAIError)
def openai_models(caller: Caller, query: AllQuery) -> OpenAIModels:
    """Models in OpenAI's shape.

    What OpenAI's own clients list with base_url=…/v1 and a personal token as their key.
    """
    return OpenAIModels([_openai_model(one) for one in list_usable(caller.user.id, _kind(query))])


@blueprint.get("/v1/models/<path:model_id>", merge_slashes=False)
@operation(OpenAIModel, tag="For other programs", errors=OpenAIError, also=(404,))
def openai_model(caller: Caller, model_id: str) -> OpenAIModel:
    """One model in OpenAI's shape.

    Of any kind, chat or not.
    """
    for one in list_usable(caller.user.id, ""):
        if _openai_id(one) == model_id:
            return _openai_model(one)
    raise Refused(HTTPStatus.NOT_FOUND, "None of your keys lists this model. Its id begins with the provider's slug.")


def _openai_id(one: UsableModel) -> str:
    return f"{one.place.name}/{one.listed.id}"


def _openai_model(one: UsableModel) -> OpenAIModel:
    moment = one.listed.created_at or one.seen_at
    lab, slash, _ = (one.facts.canonical_id or "").partition("/")
    created = max(0, int(moment.timestamp())) if moment else 0
    return OpenAIModel(_openai_id(one), created, lab if slash else one.place.provider)


# ------------------------------------------------------------------ models.dev's


class Modalities(msgspec.Struct, frozen=True):
    input: tuple[Modality, ...]
    output: tuple[Modality, ...]


class Cost(msgspec.Struct, frozen=True, omit_defaults=True):
    """USD per million tokens."""

    input: Price
    output: Price
    cache_read: Price | UnsetType = UNSET
    cache_write: Price | UnsetType = UNSET


class Limit(msgspec.Struct, frozen=True):
    """In tokens; 0 where it is not known."""

    context: Count
    output: Count


class DevModel(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    id: str
    name: Annotated[str, Meta(min_length=1)]
    attachment: bool
    reasoning: bool
    tool_call: bool
    release_date: Day
    last_updated: Day
    modalities: Modalities
    open_weights: bool
    limit: Limit
    temperature: bool
    family: str | UnsetType = UNSET
    structured_output: bool | UnsetType = UNSET
    knowledge: Day | UnsetType = UNSET
    cost: Cost | UnsetType = UNSET
    status: Literal["deprecated"] | UnsetType = UNSET


class DevProvider(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    id: str
    name: Annotated[str, Meta(min_length=1)]
    env: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Variables that its own programs read the API key from."""
    npm: Annotated[str, Meta(min_length=1)]
    doc: Annotated[str, Meta(min_length=1)]
    models: dict[str, DevModel]
    api: Annotated[
        str | UnsetType,
        Meta(description="Where it answers in OpenAI's shape; only beside the package for compatible servers."),
    ] = UNSET


DevCatalog = Annotated[dict[str, DevProvider], Meta(title="DevCatalog")]


@blueprint.get("/api.json")
@operation(DevCatalog, tag="For other programs", query=AllQuery)
def models_dev(caller: Caller, query: AllQuery) -> dict[str, DevProvider]:
    """Providers and models in models.dev's shape.

    An object of providers by their slug, each with its models by the id it serves them under.
    """
    _, index = catalog.load_index()
    found = list_usable(caller.user.id, _kind(query))
    return {
        place.name: _dev_provider(place, {one.listed.id: _dev_model(one, index.models) for one in models})
        for place, models in groupby(found, key=lambda one: one.place)
    }


def _kind(query: AllQuery) -> str:
    return "" if query.all else "chat"


def _dev_provider(place: ProviderEndpoint, models: dict[str, DevModel]) -> DevProvider:
    provider = filters.providers()[place.provider]
    npm = _NPM.get(provider.slug, _COMPATIBLE)
    return DevProvider(
        id=place.name,
        name=provider.title,
        env=(f"{provider.variable}_API_KEY",),
        npm=npm,
        doc=provider.site,
        models=models,
        api=_address(place) if npm == _COMPATIBLE else UNSET,
    )


def _address(place: ProviderEndpoint) -> str:
    """Where a program asks for answers in OpenAI's shape: beside the list of models, unless it is said otherwise."""
    provider = filters.providers()[place.provider]
    base = place.base_url or provider.base_url
    if provider.openai_path:
        return base.rstrip("/").removesuffix(provider.openai_path) + provider.openai_path
    return provider.url(base, provider.ask(None).path).removesuffix("/models")


def _dev_model(one: UsableModel, canonical_models: dict[str, CanonicalModel]) -> DevModel:
    facts, listed = one.facts, one.listed
    canonical = canonical_models.get(facts.canonical_id or "")
    inputs = _modalities(listed.input_modalities or (canonical.input_modalities if canonical else ()))
    if facts.vision and "image" not in inputs:
        inputs = (*inputs, "image")
    made_on = _made_on(one, canonical)
    return DevModel(
        id=listed.id,
        name=facts.name or listed.id,
        attachment=any(kind != "text" for kind in inputs),
        reasoning=bool(facts.reasoning),
        tool_call=bool(facts.tools),
        temperature=not facts.reasoning,  # nobody says; models that reason mostly refuse it
        release_date=made_on,
        last_updated=made_on,
        modalities=Modalities(
            inputs, _modalities(listed.output_modalities or (canonical.output_modalities if canonical else ()))
        ),
        open_weights=bool(canonical and canonical.open_weights),
        limit=Limit(facts.context_length or 0, facts.max_output_tokens or 0),
        family=canonical.family if canonical and canonical.family else UNSET,
        structured_output=UNSET if facts.structured_output is None else facts.structured_output,
        knowledge=_day(canonical.knowledge_cutoff if canonical else "") or UNSET,
        cost=_cost(one),
        status="deprecated" if facts.deprecated_on or facts.retires_on else UNSET,
    )


def _modalities(words: tuple[str, ...]) -> tuple[Modality, ...]:
    """Those that models.dev knows; text where nothing is said, as for every chat model."""
    return tuple(_known(words)) or ("text",)


def _known(words: tuple[str, ...]) -> Iterator[Modality]:
    for word in _MODALITIES:
        if word in words or (word == "pdf" and "file" in words):
            yield word  # type: ignore[misc]  # it is one of the five


def _made_on(one: UsableModel, canonical: CanonicalModel | None) -> str:
    """The day of its release, or the nearest to it that is known; the shape wants one."""
    moment = one.listed.created_at or one.seen_at
    told = _day(canonical.released_on if canonical else "")
    return told or (moment or datetime.fromtimestamp(0, UTC)).strftime("%Y-%m-%d")


def _day(text: str) -> str:
    """`2025-03` or `2025-03-12`; empty for a year alone."""
    return text if len(text) in (7, 10) else ""


def _cost(one: UsableModel) -> Cost | UnsetType:
    """Only where both main prices are known: the shape knows no other."""
    paid, asked = one.facts.input_per_million, one.facts.output_per_million
    if paid is None or asked is None:
        return UNSET
    return Cost(
        float(paid),
        float(asked),
        _price(one.facts.cache_read_per_million),
        _price(one.facts.cache_write_per_million),
    )


def _price(price: Decimal | None) -> float | UnsetType:
    return UNSET if price is None else float(price)

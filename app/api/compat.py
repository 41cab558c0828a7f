"""Model lists in other formats: OpenAI's `/v1/models` and models.dev's `api.json`.

Both hold the chat models that the caller's keys can use; `?all=yes` adds all other kinds. Ids in OpenAI's list are
"provider/model id", since two providers may use the same model id.
"""

from __future__ import annotations

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
from app.api.problems import ApiError, OpenAIError
from app.catalog.matching import CanonicalModel
from app.extensions import csrf
from app.providers import PROVIDERS
from app.store import catalog
from app.store.queries.models_of_keys import ProviderEndpoint, UsableModel, list_usable

blueprint = Blueprint("elsewhere", __name__)
csrf.exempt(blueprint)  # read-only

_COMPATIBLE_PACKAGE = "@ai-sdk/openai-compatible"
_DAY_PATTERN = r"^\d{4}-\d{2}(-\d{2})?$"

Modality = Literal["text", "image", "audio", "video", "pdf"]
Day = Annotated[str, Meta(pattern=_DAY_PATTERN)]
Price = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class CompatQuery(msgspec.Struct, frozen=True):
    """Parameters that are not ours are passed over: these clients send what they like."""

    all: Annotated[Literal["", "yes"], Meta(description="yes: models of every kind, not only chat.")] = ""


# ------------------------------------------------------------------ OpenAI


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
@operation(OpenAIModels, tag="For other programs", query=CompatQuery, errors=OpenAIError)
def openai_models(caller: Caller, query: CompatQuery) -> OpenAIModels:
    """Models in OpenAI's shape.

    What OpenAI's own clients list with base_url=…/v1 and a personal token as their key.
    """
    return OpenAIModels([_to_openai_model(model) for model in list_usable(caller.user.id, _kind(query))])


@blueprint.get("/v1/models/<path:model_id>", merge_slashes=False)
@operation(OpenAIModel, tag="For other programs", errors=OpenAIError, also=(404,))
def openai_model(caller: Caller, model_id: str) -> OpenAIModel:
    """One model in OpenAI's shape.

    Of any kind, chat or not.
    """
    for model in list_usable(caller.user.id, ""):
        if _openai_id(model) == model_id:
            return _to_openai_model(model)
    raise ApiError(HTTPStatus.NOT_FOUND, "None of your keys lists this model. Its id begins with the provider's slug.")


def _openai_id(model: UsableModel) -> str:
    return f"{model.endpoint.name}/{model.listed.id}"


def _to_openai_model(model: UsableModel) -> OpenAIModel:
    created_at = model.listed.created_at or model.first_seen_at
    lab, slash, _ = (model.facts.canonical_id or "").partition("/")
    created = max(0, int(created_at.timestamp())) if created_at else 0
    return OpenAIModel(_openai_id(model), created, lab if slash else model.endpoint.provider)


# ------------------------------------------------------------------ models.dev


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
    """Environment variables that clients read the API key from."""
    npm: Annotated[str, Meta(min_length=1)]
    doc: Annotated[str, Meta(min_length=1)]
    models: dict[str, DevModel]
    api: Annotated[
        str | UnsetType,
        Meta(description="Where it answers in OpenAI's shape; only beside the package for compatible servers."),
    ] = UNSET


DevCatalog = Annotated[dict[str, DevProvider], Meta(title="DevCatalog")]


@blueprint.get("/api.json")
@operation(DevCatalog, tag="For other programs", query=CompatQuery)
def models_dev(caller: Caller, query: CompatQuery) -> dict[str, DevProvider]:
    """Providers and models in models.dev's shape.

    An object of providers by their slug, each with its models by the id it serves them under.
    """
    _, index = catalog.load_index()
    usable = list_usable(caller.user.id, _kind(query))
    return {
        endpoint.name: _to_dev_provider(endpoint, {one.listed.id: _to_dev_model(one, index.models) for one in models})
        for endpoint, models in groupby(usable, key=lambda model: model.endpoint)
    }


def _kind(query: CompatQuery) -> str:
    return "" if query.all else "chat"


def _to_dev_provider(endpoint: ProviderEndpoint, models: dict[str, DevModel]) -> DevProvider:
    provider = PROVIDERS[endpoint.provider]
    npm = provider.ai_sdk_package or _COMPATIBLE_PACKAGE
    return DevProvider(
        id=endpoint.name,
        name=provider.title,
        env=(provider.key_variable,),
        npm=npm,
        doc=provider.site,
        models=models,
        api=_openai_base_url(endpoint) if npm == _COMPATIBLE_PACKAGE else UNSET,
    )


def _openai_base_url(endpoint: ProviderEndpoint) -> str:
    """Base URL of the OpenAI-compatible API: the parent of the model list, unless the provider says otherwise."""
    provider = PROVIDERS[endpoint.provider]
    base_url = endpoint.base_url or provider.base_url
    if provider.openai_path:
        return provider.root(base_url) + provider.openai_path
    return provider.url(base_url, provider.build_request(None).path).removesuffix("/models")


def _to_dev_model(model: UsableModel, canonical_models: dict[str, CanonicalModel]) -> DevModel:
    facts, listed = model.facts, model.listed
    canonical = canonical_models.get(facts.canonical_id or "")
    inputs = _modalities(listed.input_modalities or (canonical.input_modalities if canonical else ()))
    if facts.vision and "image" not in inputs:
        inputs = (*inputs, "image")
    release_day = _release_day(model, canonical)
    return DevModel(
        id=listed.id,
        name=facts.name or listed.id,
        attachment=any(kind != "text" for kind in inputs),
        reasoning=bool(facts.reasoning),
        tool_call=bool(facts.tools),
        temperature=not facts.reasoning,  # unknown; most reasoning models reject it
        release_date=release_day,
        last_updated=release_day,
        modalities=Modalities(
            inputs, _modalities(listed.output_modalities or (canonical.output_modalities if canonical else ()))
        ),
        open_weights=bool(canonical and canonical.open_weights),
        limit=Limit(facts.context_length or 0, facts.max_output_tokens or 0),
        family=canonical.family if canonical and canonical.family else UNSET,
        structured_output=UNSET if facts.structured_output is None else facts.structured_output,
        knowledge=_day(canonical.knowledge_cutoff if canonical else "") or UNSET,
        cost=_to_cost(model),
        status="deprecated" if facts.deprecated_on or facts.retires_on else UNSET,
    )


def _modalities(words: tuple[str, ...]) -> tuple[Modality, ...]:
    """The modalities that models.dev knows; text if none, as for every chat model."""
    modalities: list[Modality] = ["text", "image", "audio", "video", "pdf"]
    return tuple(one for one in modalities if one in words or (one == "pdf" and "file" in words)) or ("text",)


def _release_day(model: UsableModel, canonical: CanonicalModel | None) -> str:
    """Release date, else creation or first-seen date: the format requires one."""
    known_at = model.listed.created_at or model.first_seen_at or datetime.fromtimestamp(0, UTC)
    return _day(canonical.released_on if canonical else "") or known_at.strftime("%Y-%m-%d")


def _day(text: str) -> str:
    """A date like `2025-03` or `2025-03-12`; empty for a bare year, which the format does not allow."""
    return text if len(text) in (7, 10) else ""


def _to_cost(model: UsableModel) -> Cost | UnsetType:
    """Unset unless both input and output price are known, which the format requires."""
    input_price, output_price = model.facts.input_per_million, model.facts.output_per_million
    if input_price is None or output_price is None:
        return UNSET
    return Cost(
        float(input_price),
        float(output_price),
        _to_price(model.facts.cache_read_per_million),
        _to_price(model.facts.cache_write_per_million),
    )


def _to_price(price: Decimal | None) -> float | UnsetType:
    return UNSET if price is None else float(price)

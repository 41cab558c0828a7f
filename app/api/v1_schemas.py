"""Request and response types of `/api/v1`, the source of its OpenAPI schemas.

Prices are USD per million tokens, times ISO 8601 in UTC, unknown values null.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.catalog import humanize
from app.catalog.changes import Fact
from app.catalog.listing import CAPABILITIES, Kind
from app.providers.error_mapping import key_page_url
from app.store.queries.changes import ChangeView
from app.store.queries.keys import KeyView
from app.store.queries.model_query import Sort
from app.store.queries.model_search import ModelView, UnlistedModel
from app.store.queries.runs import ResultView, RunView
from app.store.schema.tables import OUTCOMES, RUN_STATES, TRIGGERS

_END = r"$(?!\n)"
"""End of a pattern: unlike JavaScript's, Python's `$` also matches before a trailing line break."""
_TEXT_PATTERN = "^[^\\u0000]*$"  # PostgreSQL rejects NUL in text
Text = Annotated[str, Meta(max_length=200, pattern=_TEXT_PATTERN)]
Size = Annotated[int, Meta(ge=1, le=200, description="How many at once.")]
After = Annotated[
    str, Meta(max_length=2_000, description="The “next” of the answer before; leave it out for the first page.")
]
Slug = Annotated[str, Meta(max_length=64, pattern=_TEXT_PATTERN, description="A provider's slug, such as openrouter.")]
Yes = Literal["", "yes"]
ChangeKind = Literal["new", "changed", "unlisted", "relisted"]


def _enum(words: tuple[str, ...]) -> Meta:
    """Documents the values; the tables' check constraints enforce the same ones."""
    return Meta(extra_json_schema={"enum": list(words)})


Outcome = Annotated[str, _enum(OUTCOMES)]
RunState = Annotated[str, _enum(RUN_STATES)]
Trigger = Annotated[str, _enum(TRIGGERS)]
Capability = Annotated[str, _enum(CAPABILITIES)]


# ------------------------------------------------------------------ requests


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Size = 50
    after: After = ""


class ProviderQuery(PageQuery, frozen=True):
    all: Annotated[Yes, Meta(description="yes: those you have no key for as well.")] = ""


class KeyQuery(PageQuery, frozen=True):
    provider: Slug = ""


class ModelQuery(PageQuery, frozen=True):
    """The filters of the page of models, under the same names."""

    q: Annotated[Text, Meta(description="Words, all of which the id, the name or the canonical id holds.")] = ""
    provider: Slug = ""
    capability: Annotated[
        list[Literal["streaming", "tools", "vision", "reasoning", "structured_output"]],
        Meta(max_length=10, description="What it must be able to do; may be repeated."),
    ] = []
    kind: Annotated[Kind | Literal[""], Meta(description="Chat models, if nothing else is asked for.")] = ""
    all: Annotated[Yes, Meta(description="yes: every kind, also what was filtered out.")] = ""
    max_price: Annotated[
        str,
        Meta(
            pattern=r"^(\$?[0-9]{1,6}(\.[0-9]{1,9})?)?" + _END,
            description="Highest input price, such as 2.50.",
            max_length=20,
        ),
    ] = ""
    min_context: Annotated[
        str,
        Meta(
            pattern=r"^([0-9]{1,12}(\.[0-9]{1,6})?[kKmM]?)?" + _END,
            description="Least context window in tokens, such as 128000, 128k or 1M.",
            max_length=30,
        ),
    ] = ""
    new: Annotated[Yes, Meta(description="yes: only what is new.")] = ""
    sort: Sort = "name"


class GoneQuery(PageQuery, frozen=True):
    provider: Slug = ""


class ChangeQuery(PageQuery, frozen=True):
    provider: Slug = ""
    kind: ChangeKind | Literal[""] = ""


class RunOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to sync; all active keys, if neither is given."""

    provider: Annotated[
        str, Meta(max_length=64, pattern=_TEXT_PATTERN, description="Only the keys of this provider.")
    ] = ""
    key_id: Annotated[int, Meta(ge=1, le=2**62, description="Only this key.")] | None = None


# ------------------------------------------------------------------ responses


class ProviderSummary(msgspec.Struct, frozen=True):
    slug: str
    title: str
    description: str
    site: str
    keys: Annotated[int, Meta(description="How many keys you have for it.")]
    active_keys: int
    listed_at: Annotated[datetime | None, Meta(description="When one of your keys was last confirmed by it.")]


class Trouble(msgspec.Struct, frozen=True):
    message: str
    action: str | None
    code: str | None = None
    url: Annotated[str | None, Meta(description="Where to create or edit the key, if the key is at fault.")] = None


class Key(msgspec.Struct, frozen=True):
    """An API key: what is known of it, never itself."""

    id: int
    provider: str
    label: str
    hint: Annotated[str, Meta(description="Never more than its last four characters.")]
    base_url: str | None
    is_active: bool
    is_checking: Annotated[bool, Meta(description="Whether its first sync has not ended yet.")]
    can_accept: Annotated[bool, Meta(description="Whether an answer is kept aside: accept it, or keep your list.")]
    outcome: Outcome | None
    model_count: int | None
    chat_count: int | None
    trouble: Trouble | None
    checked_at: datetime | None
    listed_at: datetime | None
    put_off_until: datetime | None


class KeyAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    base_url: Annotated[str, Meta(description="Address of your own server.", max_length=1000)] = ""


class Pricing(msgspec.Struct, frozen=True):
    input_per_million: float | None
    output_per_million: float | None
    cache_read_per_million: float | None
    cache_write_per_million: float | None


class Model(msgspec.Struct, frozen=True):
    provider: str
    provider_model_id: str
    name: str
    kind: Kind
    kind_reason: str
    canonical_id: str | None
    match_rule: str
    variant: str
    snapshot: str
    context_length: int | None
    max_output_tokens: int | None
    capabilities: tuple[str, ...]
    pricing: Pricing
    key_ids: Annotated[tuple[int, ...], Meta(description="Your keys that list it.")]
    status: Literal["listed", "documented", "deprecated"]
    deprecated_on: str | None
    retires_on: str | None
    successor: str | None
    is_new: bool


class GoneModel(msgspec.Struct, frozen=True):
    """A chat model that a key listed once, and its provider no longer lists for it."""

    provider: str
    label: str
    provider_model_id: str
    name: str
    canonical_id: str | None
    gone_at: datetime
    missed: Annotated[int, Meta(description="Complete syncs without it.")]


class FieldDifference(msgspec.Struct, frozen=True):
    field: str
    before: Fact
    after: Fact


class Difference(msgspec.Struct, frozen=True):
    """A change: what a sync told of one model of one key."""

    id: str
    run_id: int
    result_id: int
    key_id: Annotated[int | None, Meta(description="None once the key was removed.")]
    provider: str
    label: str
    at: datetime | None
    kind: ChangeKind
    provider_model_id: str
    name: str
    fields: tuple[FieldDifference, ...]
    sentence: str


class Result(msgspec.Struct, frozen=True):
    """One key's part in a run."""

    id: int
    provider: str
    label: str
    state: Literal["waiting", "fetching", "done"]
    outcome: Outcome | None
    fetched: int
    chat: int
    new: int
    changed: int
    unlisted: int
    relisted: int
    uncatalogued: int
    skipped: int
    duration_s: float | None
    trouble: Trouble | None
    ended_at: datetime | None


class Run(msgspec.Struct, frozen=True):
    id: int
    state: RunState
    trigger: Trigger
    total_new_models: Annotated[int, Meta(description="Like the other totals: each model once per provider.")]
    total_changed: int
    total_unlisted: int
    total_relisted: int
    results: int
    settled: Annotated[int, Meta(description="How many of the results have their outcome.")]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class RunReceipt(msgspec.Struct, frozen=True):
    run_id: int
    is_new: Annotated[bool, Meta(description="False if one was under way already: then that one is named.")]
    notice: Annotated[str | None, Meta(description="Why it will have to wait, if it will.")]


# The names of these schemas in the OpenAPI document; the classes are named apart from `contract.Provider` and
# `store.runs.StartedRun`.
ProviderSummary.__name__, RunReceipt.__name__ = "Provider", "StartedRun"


class ProviderPage(msgspec.Struct, frozen=True):
    data: list[ProviderSummary]
    next: str | None


class KeyPage(msgspec.Struct, frozen=True):
    data: list[Key]
    next: str | None


class ModelPage(msgspec.Struct, frozen=True):
    data: list[Model]
    next: str | None
    total: int


class GonePage(msgspec.Struct, frozen=True):
    data: list[GoneModel]
    next: str | None


class DifferencePage(msgspec.Struct, frozen=True):
    data: list[Difference]
    next: str | None


class RunPage(msgspec.Struct, frozen=True):
    data: list[Run]
    next: str | None


class ResultPage(msgspec.Struct, frozen=True):
    data: list[Result]
    next: str | None


# ------------------------------------------------------------------ conversion from read models


def to_key(view: KeyView) -> Key:
    return Key(
        trouble=_trouble(view),
        is_checking=view.is_new,
        **_common_fields(Key, view, "trouble", "is_checking"),
    )


def _trouble(view: KeyView | ResultView) -> Trouble | None:
    if not view.error_message:
        return None
    url = key_page_url(view.provider, view.error_code)
    return Trouble(view.error_message, view.error_action, view.error_code, url)


def to_model(view: ModelView) -> Model:
    return Model(
        pricing=Pricing(**{name: _float_or_none(getattr(view, name)) for name in Pricing.__struct_fields__}),
        key_ids=tuple(key.credential_id for key in view.keys),
        status=_status(view),
        deprecated_on=view.deprecated_on or None,
        retires_on=view.retires_on or None,
        successor=view.successor or None,
        **_common_fields(Model, view, "pricing", "key_ids", "status", "deprecated_on", "retires_on", "successor"),
    )


def to_gone_model(view: UnlistedModel) -> GoneModel:
    return GoneModel(**_common_fields(GoneModel, view))


def to_difference(view: ChangeView) -> Difference:
    change = view.change
    return Difference(
        id=f"{view.result_id}-{view.change_id}",
        run_id=view.run_id,
        result_id=view.result_id,
        key_id=view.credential_id,
        provider=view.provider,
        label=view.label,
        at=view.at,
        kind=change.kind,
        provider_model_id=change.model_id,
        name=change.name,
        fields=tuple(FieldDifference(one.field, one.before, one.after) for one in change.fields),
        sentence=humanize.describe_change(change),
    )


def to_result(view: ResultView) -> Result:
    return Result(
        trouble=_trouble(view),
        duration_s=None if view.duration_s is None else round(view.duration_s, 3),
        **_common_fields(Result, view, "trouble", "duration_s"),
    )


def to_run(view: RunView) -> Run:
    return Run(results=len(view.results), settled=view.settled, **_common_fields(Run, view, "results", "settled"))


def _status(view: ModelView) -> Literal["listed", "documented", "deprecated"]:
    if view.documented:
        return "documented"
    return "deprecated" if view.deprecated_on or view.retires_on else "listed"


def _float_or_none(price: Any) -> float | None:
    return None if price is None else float(price)


def _common_fields(struct: type[msgspec.Struct], view: Any, *excluded: str) -> dict[str, Any]:
    """The view's values of the struct's fields, except `excluded`."""
    return {name: getattr(view, name) for name in struct.__struct_fields__ if name not in excluded}

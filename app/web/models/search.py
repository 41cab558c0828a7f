"""Pages of models: search, comparison, code snippets, details of one model, and favorites."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from urllib.parse import parse_qs

from flask import Blueprint, abort, redirect, render_template, url_for
from flask_login import current_user, login_required
from htmx_flask import request
from werkzeug.datastructures import MultiDict

from app import clock
from app.catalog import humanize
from app.catalog.costs import Usage, monthly_cost
from app.catalog.effective import is_first_party
from app.catalog.listing import CAPABILITIES, KINDS
from app.extensions import db
from app.providers import PROVIDERS
from app.store import catalog
from app.store.accounts import favorites
from app.store.accounts.favorites import Mark, ModelKey
from app.store.queries import model_cursor, model_detail, model_search
from app.store.queries.model_query import SORTS, MarkFilter, ModelFilter, Sort
from app.store.schema.tables import MARKS
from app.web.app import filters_facts
from app.web.app.arguments import require
from app.web.models import compare as comparison
from app.web.models import snippets

blueprint = Blueprint("models", __name__)

COLUMNS = {
    "provider": "Provider",
    "context": "Context",
    "answer": "Longest answer",
    "input": "Input",
    "cached": "Cached input",
    "output": "Output",
    "can": "Can",
    "listed": "As of",
}
"""Optional columns, in display order."""
_DEFAULT_COLUMNS = ("provider", "context", "input", "output", "can")
_DEFAULT_USAGE = {"input": "20M", "cached": "", "output": "2M"}
"""Monthly tokens of a comparison, until the user enters others."""
_MAX_SEARCH_LENGTH = 200
_MAX_ID_LENGTH = 300


@dataclass(frozen=True, slots=True)
class ModelsQuery:
    """The filters in the query string, and validation errors."""

    filters: ModelFilter
    errors: dict[str, str] = field(default_factory=dict)
    """Field → message."""


@blueprint.get("/models")
@login_required
def index() -> str:
    query = parse_query(request.args)
    show_unlisted = request.args.get("show") == "gone"
    page = model_search.search(current_user.id, query.filters, clock.utc_now(), request.args.get("after"))
    return render_template(
        "models/_list.html" if request.htmx else "models/index.html",
        page=page,
        filters=query.filters,
        errors=query.errors,
        args=request.args,
        gone=model_search.unlisted(current_user.id, query.filters.provider) if show_unlisted else None,
        capabilities=CAPABILITIES,
        kinds=KINDS,
        query=_query_args(query.filters, show_unlisted),
        here=_page_query_string(query.filters, show_unlisted, request.args.get("after", "")),
        ticked=_models_by_name(request.args),
        columns=tuple(_columns()),
        every_column=COLUMNS,
    )


@blueprint.get("/models/compare")
@login_required
def compare() -> str:
    """Up to five of the user's models side by side, with the cost of a month."""
    names = _models_by_name(request.args)
    lines = model_search.search_by_name(current_user.id, names, clock.utc_now())
    listed = {(line.provider, line.provider_model_id) for line in lines}
    args = MultiDict(_DEFAULT_USAGE) if not ("input" in request.args or "output" in request.args) else request.args
    usage, errors = parse_usage(args)
    return render_template(
        "models/_compared.html" if request.htmx else "models/compare.html",
        lines=lines,
        rows=comparison.compare_models(lines, usage) if lines else [],
        missing=[name for name in names if name not in listed],
        too_many=len(request.args.getlist("m")) > comparison.MAX_COMPARED,
        usage=usage,
        errors=errors,
        args=args,
        ids=[f"{line.provider}/{line.provider_model_id}" for line in lines],
        only_differences=request.args.get("only") == "differences",
    )


@blueprint.get("/models/use")
@login_required
def use() -> str:
    """Code snippets for one of the user's models."""
    lines = model_search.search_by_name(current_user.id, _models_by_name(request.args)[:1], clock.utc_now())
    if not lines:
        abort(404)
    (line,) = lines
    return render_template(
        "models/use.html",
        model=line,
        snippets=snippets.build_snippets(
            line.provider, line.provider_model_id, line.keys[0].base_url if line.keys else None
        ),
        variable=snippets.key_variable(line.provider),
        why_none=snippets.unsupported_reason(line.provider),
    )


@blueprint.post("/marks")
@login_required
def mark() -> Any:
    """Star or hide a model of the user's lists or a canonical one; "plain" removes the mark."""
    provider, model_id = request.form.get("provider", ""), request.form.get("model", "")
    mark_name = request.form.get("mark", "")
    if mark_name not in MARKS:
        abort(400)
    canonical_id = _require_markable(provider, model_id)
    if not favorites.set_mark(
        current_user.id, provider, model_id, cast(Mark, mark_name), canonical_id, clock.utc_now()
    ):
        db.session.rollback()
        abort(422, f"You have marked {favorites.MAX_MARKS} models, which is the most. Take some marks away first.")
    db.session.commit()
    if request.htmx:
        marked = {
            "provider": provider,
            "model_id": model_id,
            "mark": mark_name,
            "name": request.form.get("name", "")[:300],
        }
        return render_template("models/_marks.html", marked=marked, here=request.form.get("here", ""))
    return redirect(_return_url(model_id if not provider else ""), 303)


@blueprint.post("/settings/model-columns")
@login_required
def choose_columns() -> Any:
    """Save which columns are shown."""
    favorites.set_columns(current_user.id, [name for name in COLUMNS if name in request.form.getlist("column")])
    db.session.commit()
    return redirect(_return_url(), 303)


def _require_markable(provider: str, model_id: str) -> str | None:
    """The canonical id of a model of the user's lists; 404 if there is no such model."""
    if provider:
        lines = model_search.search_by_name(current_user.id, [(provider, model_id)], clock.utc_now())
        if not lines:
            abort(404)
        return lines[0].canonical_id
    require(model_detail.load_canonical(model_id))
    return None


def _models_by_name(args: MultiDict[str, str]) -> list[ModelKey]:
    """The models in `m=provider/id`, without duplicates, limited to what can be compared."""
    names: dict[ModelKey, None] = {}
    for text in args.getlist("m"):
        provider, _, model_id = text.partition("/")
        if provider in PROVIDERS and 0 < len(model_id) <= _MAX_ID_LENGTH and _is_storable(model_id):
            names[provider, model_id] = None
    return list(names)[: comparison.MAX_COMPARED]


def _is_storable(words: str) -> bool:
    """Whether the database accepts the text."""
    return "\0" not in words and not any("\ud800" <= letter <= "\udfff" for letter in words)


def _columns() -> list[str]:
    chosen = current_user.model_columns
    return [name for name in COLUMNS if name in (_DEFAULT_COLUMNS if chosen is None else chosen.split(","))]


def _return_url(canonical_id: str = "") -> str:
    """Where a form without htmx came from, rebuilt from its fields: not an open redirect."""
    if canonical_id:
        return url_for("models.one", canonical_id=canonical_id)
    args = MultiDict(
        (name, value) for name, values in parse_qs(request.form.get("here", "")[:4_000]).items() for value in values
    )
    filters = parse_query(args).filters
    query_args = _query_args(filters, args.get("show") == "gone")
    if model_cursor.is_cursor(args.get("after", ""), filters.sort):
        query_args["after"] = args["after"]
    return url_for("models.index", **query_args)  # type: ignore[arg-type]  # the names are ours


def _page_query_string(filters: ModelFilter, show_unlisted: bool, after: str) -> str:
    """The current filters and position, for forms to send back."""
    query = _query_args(filters, show_unlisted)
    return url_for("models.index", **query, **({"after": after} if after else {})).partition("?")[2]  # type: ignore[arg-type]


@blueprint.get("/models/<path:canonical_id>")
@login_required
def one(canonical_id: str) -> str:
    """One canonical model: facts with sources, offers, history, and the cost of a month."""
    canonical = require(model_detail.load_canonical(canonical_id))
    usage, errors = parse_usage(request.args)
    offers = model_detail.list_offers(canonical, current_user.id)
    lines = [(offer, None if usage.is_empty else monthly_cost(usage, comparison.prices_of(offer))) for offer in offers]
    facts = catalog.sourced_facts(canonical)
    return render_template(
        "models/_offers.html" if request.htmx else "models/one.html",
        model=canonical,
        facts=filters_facts.fact_lines(facts),
        sources={fact.field: filters_facts.format_source(fact) for fact in facts},
        is_still_listed=any(is_first_party(offer.provider, canonical) for offer in offers),
        lines=sorted(lines, key=_price_order if usage.is_empty else _cost_order),
        usage=usage,
        errors=errors,
        args=request.args,
        events=[] if request.htmx else model_detail.list_events(canonical.id, current_user.id),
        successor=model_detail.load_canonical(canonical.successor) if canonical.successor else None,
        marked={
            "provider": "",
            "model_id": canonical.id,
            "mark": favorites.find_mark(current_user.id, "", canonical.id),
            "name": canonical.name,
        },
        here="",
    )


def parse_usage(args: MultiDict[str, str]) -> tuple[Usage, dict[str, str]]:
    """Monthly tokens for the calculator; invalid numbers give an error and count as zero."""
    counts, errors = {}, {}
    for name in ("input", "output", "cached"):
        text = args.get(name, "").strip()
        counts[name] = humanize.parse_token_count(text) or 0
        if text and humanize.parse_token_count(text) is None:
            errors[name] = f"Write the {name} tokens as a number, such as 500000, 500k or 20M."
    return Usage(**counts), errors


def _price_order(line: tuple[model_detail.Offer, Decimal | None]) -> tuple[bool, Decimal, bool, str, str]:
    return _cost_order((line[0], line[0].input_per_million))


def _cost_order(line: tuple[model_detail.Offer, Decimal | None]) -> tuple[bool, Decimal, bool, str, str]:
    offer, amount = line
    return (amount is None, amount or Decimal(0), not offer.is_mine, offer.provider, offer.provider_model_id)


def parse_query(args: MultiDict[str, str]) -> ModelsQuery:
    """Parse the filters. Invalid numbers give an error and do not filter."""
    errors: dict[str, str] = {}
    price = _parse_price(args.get("max_price", ""), errors)
    context = humanize.parse_token_count(args.get("min_context", ""))
    if context is None and args.get("min_context", "").strip():
        errors["min_context"] = "Write the context as a number of tokens, such as 128000, 128k or 1M."
    sort = args.get("sort", "name")
    provider = args.get("provider", "")
    filters = ModelFilter(
        search=args.get("q", "").strip()[:_MAX_SEARCH_LENGTH],
        provider=provider if provider in PROVIDERS else "",
        capabilities=frozenset(args.getlist("capability")) & frozenset(CAPABILITIES),
        kind=_parse_kind(args),
        most_input_price=price,
        least_context=context,
        only_new=args.get("new") == "yes",
        sort=cast(Sort, sort) if sort in SORTS else "name",
        marks=cast(MarkFilter, args["marks"]) if args.get("marks") in ("any", "starred", "hidden") else "shown",
    )
    return ModelsQuery(filters, errors)


def _parse_kind(args: MultiDict[str, str]) -> str:
    """ "chat" by default; empty for all kinds."""
    if args.get("all") == "yes":
        return ""
    kind = args.get("kind", "")
    return kind if kind in KINDS else "chat"


def _parse_price(text: str, errors: dict[str, str]) -> Decimal | None:
    number = text.strip().removeprefix("$")
    if not number:
        return None
    try:
        price = Decimal(number)
    except InvalidOperation:
        price = Decimal("NaN")
    if price.is_finite() and 0 <= price < 10**6:
        return price
    errors["max_price"] = "Write the price in USD per million tokens, such as 2.50."
    return None


def _query_args(filters: ModelFilter, show_unlisted: bool) -> dict[str, str | list[str]]:
    """The filters as query arguments, for links."""
    query: dict[str, str | list[str]] = {
        "q": filters.search,
        "provider": filters.provider,
        "capability": sorted(filters.capabilities),
        "all": "" if filters.kind else "yes",
        "kind": "" if filters.kind in ("", "chat") else filters.kind,
        "max_price": "" if filters.most_input_price is None else str(filters.most_input_price),
        "min_context": "" if filters.least_context is None else str(filters.least_context),
        "new": "yes" if filters.only_new else "",
        "show": "gone" if show_unlisted else "",
        "marks": "" if filters.marks == "shown" else filters.marks,
        "sort": "" if filters.sort == "name" else filters.sort,
    }
    return {name: value for name, value in query.items() if value}

"""What my keys can use: found, compared, and one model with all who serve it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from urllib.parse import parse_qs

from flask import Blueprint, abort, redirect, render_template, url_for
from flask_login import current_user, login_required
from htmx_flask import request
from werkzeug.datastructures import MultiDict

from app.catalog.costs import Prices, Usage, monthly_cost
from app.catalog.listing import CAPABILITIES, KINDS
from app.extensions import db
from app.providers import PROVIDERS
from app.store import catalog
from app.store.accounts import favorites
from app.store.accounts.favorites import Mark, ModelKey
from app.store.queries import model_detail, model_search
from app.store.queries.model_search import SORTS, MarkFilter, ModelFilter, Sort
from app.store.schema.tables import MARKS
from app.web.app import filters, filters_facts
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
"""What the page can show beside a model's name, in this order."""
_DEFAULT_COLUMNS = ("provider", "context", "input", "output", "can")
_DEFAULT_USAGE = {"input": "20M", "cached": "", "output": "2M"}
"""What a comparison counts with until somebody says otherwise."""
_MAX_SEARCH_LENGTH = 200
_MAX_ID_LENGTH = 300
_TOKEN_COUNT = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([km]?)", re.IGNORECASE)
_MULTIPLIERS = {"": 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class ModelsQuery:
    """What the address asks for, and what of it could not be understood."""

    wanted: ModelFilter
    complaints: dict[str, str] = field(default_factory=dict)
    """Field → a sentence."""


@blueprint.get("/models")
@login_required
def index() -> str:
    asked = parse_query(request.args)
    gone_too = request.args.get("show") == "gone"
    page = model_search.search(current_user.id, asked.wanted, filters.now(), request.args.get("after"))
    return render_template(
        "models/_list.html" if request.htmx else "models/index.html",
        page=page,
        wanted=asked.wanted,
        complaints=asked.complaints,
        given=request.args,
        gone=model_search.unlisted(current_user.id, asked.wanted.provider) if gone_too else None,
        capabilities=CAPABILITIES,
        kinds=KINDS,
        query=_query_args(asked.wanted, gone_too),
        here=_page_query_string(asked.wanted, gone_too, request.args.get("after", "")),
        ticked=_named_models(request.args),
        columns=tuple(_columns()),
        every_column=COLUMNS,
    )


@blueprint.get("/models/compare")
@login_required
def compare() -> str:
    """Up to five of one's own models side by side, with what a month of use costs."""
    names = _named_models(request.args)
    lines = model_search.by_name(current_user.id, names, filters.now())
    found = {(line.provider, line.provider_model_id) for line in lines}
    args = MultiDict(_DEFAULT_USAGE) if not ("input" in request.args or "output" in request.args) else request.args
    usage, complaints = parse_usage(args)
    return render_template(
        "models/_compared.html" if request.htmx else "models/compare.html",
        lines=lines,
        rows=comparison.compare_models(lines, usage) if lines else [],
        missing=[name for name in names if name not in found],
        too_many=len(request.args.getlist("m")) > comparison.MAX_COMPARED,
        usage=usage,
        complaints=complaints,
        given=args,
        ids=[f"{line.provider}/{line.provider_model_id}" for line in lines],
        only_differences=request.args.get("only") == "differences",
    )


@blueprint.get("/models/use")
@login_required
def use() -> str:
    """How to call one model that one's keys list."""
    lines = model_search.by_name(current_user.id, _named_models(request.args)[:1], filters.now())
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
    """Star or hide a model that one's keys list, or a canonical one; "plain" takes the mark away."""
    provider, model_id = request.form.get("provider", ""), request.form.get("model", "")
    wanted = request.form.get("mark", "")
    if wanted not in MARKS:
        abort(400)
    canonical_id = _require_markable(provider, model_id)
    if not favorites.set_mark(current_user.id, provider, model_id, cast(Mark, wanted), canonical_id, filters.now()):
        db.session.rollback()
        abort(422, f"You have marked {favorites.MAX_MARKS} models, which is the most. Take some marks away first.")
    db.session.commit()
    if request.htmx:
        shown = {"provider": provider, "model_id": model_id, "mark": wanted, "name": request.form.get("name", "")[:300]}
        return render_template("models/_marks.html", marked=shown, here=request.form.get("here", ""))
    return redirect(_return_url(model_id if not provider else ""), 303)


@blueprint.post("/settings/model-columns")
@login_required
def choose_columns() -> Any:
    """Keep which columns the page shows, and show it."""
    favorites.set_columns(current_user.id, [name for name in COLUMNS if name in request.form.getlist("column")])
    db.session.commit()
    return redirect(_return_url(), 303)


def _require_markable(provider: str, model_id: str) -> str | None:
    """The canonical id that a model of one's own list means; aborts if there is no such model to mark."""
    if provider:
        lines = model_search.by_name(current_user.id, [(provider, model_id)], filters.now())
        if not lines:
            abort(404)
        return lines[0].canonical_id
    if model_detail.load_canonical(model_id) is None:
        abort(404)
    return None


def _named_models(args: MultiDict[str, str]) -> list[ModelKey]:
    """The models that an address names as `m=provider/id`, each once, as many as can be compared."""
    named: dict[ModelKey, None] = {}
    for text in args.getlist("m"):
        provider, _, model_id = text.partition("/")
        if provider in PROVIDERS and 0 < len(model_id) <= _MAX_ID_LENGTH and _is_storable(model_id):
            named[provider, model_id] = None
    return list(named)[: comparison.MAX_COMPARED]


def _is_storable(words: str) -> bool:
    """Whether a database takes it."""
    return "\0" not in words and not any("\ud800" <= letter <= "\udfff" for letter in words)


def _columns() -> list[str]:
    chosen = current_user.model_columns
    return [name for name in COLUMNS if name in (_DEFAULT_COLUMNS if chosen is None else chosen.split(","))]


def _return_url(canonical_id: str = "") -> str:
    """Where a form without htmx came from, made anew of what it says: never an address of somebody's choice."""
    if canonical_id:
        return url_for("models.one", canonical_id=canonical_id)
    said = MultiDict(
        (name, value) for name, values in parse_qs(request.form.get("here", "")[:4_000]).items() for value in values
    )
    asked = parse_query(said)
    query = _query_args(asked.wanted, said.get("show") == "gone")
    if model_search.is_cursor(said.get("after", ""), asked.wanted.sort):
        query["after"] = said["after"]
    return url_for("models.index", **query)  # type: ignore[arg-type]  # the names are ours


def _page_query_string(wanted: ModelFilter, gone_too: bool, after: str) -> str:
    """The filters and the place as a form sends them back."""
    query = _query_args(wanted, gone_too)
    return url_for("models.index", **query, **({"after": after} if after else {})).partition("?")[2]  # type: ignore[arg-type]


@blueprint.get("/models/<path:canonical_id>")
@login_required
def one(canonical_id: str) -> str:
    """One canonical model: its facts with their sources, who serves it, its history, and what a month would cost."""
    canonical = model_detail.load_canonical(canonical_id)
    if canonical is None:
        abort(404)
    usage, complaints = parse_usage(request.args)
    offers = model_detail.list_offers(canonical, current_user.id)
    lines = [(offer, None if usage.is_empty else monthly_cost(usage, _prices(offer))) for offer in offers]
    return render_template(
        "models/_offers.html" if request.htmx else "models/one.html",
        model=canonical,
        facts=filters_facts.fact_lines(catalog.sourced_facts(canonical)),
        lines=sorted(lines, key=_price_order if usage.is_empty else _cost_order),
        usage=usage,
        complaints=complaints,
        given=request.args,
        happenings=[] if request.htmx else model_detail.list_events(canonical.id, current_user.id),
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
    """Tokens a month for the calculator; what is no number is told, and counts as none."""
    counts, complaints = {}, {}
    for name in ("input", "output", "cached"):
        text = args.get(name, "").strip()
        counts[name] = parse_token_count(text) or 0
        if text and parse_token_count(text) is None:
            complaints[name] = f"Write the {name} tokens as a number, such as 500000, 500k or 20M."
    return Usage(**counts), complaints


def _prices(offer: model_detail.Offer) -> Prices:
    return Prices(offer.input_per_million, offer.output_per_million, offer.cache_read_per_million)


def _price_order(line: tuple[model_detail.Offer, Decimal | None]) -> tuple[bool, Decimal, bool, str, str]:
    return _cost_order((line[0], line[0].input_per_million))


def _cost_order(line: tuple[model_detail.Offer, Decimal | None]) -> tuple[bool, Decimal, bool, str, str]:
    offer, amount = line
    return (amount is None, amount or Decimal(0), not offer.is_mine, offer.provider, offer.provider_model_id)


def parse_query(args: MultiDict[str, str]) -> ModelsQuery:
    """Read the filters from an address. What is no number is told, and does not filter."""
    complaints: dict[str, str] = {}
    price = _parse_price(args.get("max_price", ""), complaints)
    context = parse_token_count(args.get("min_context", ""))
    if context is None and args.get("min_context", "").strip():
        complaints["min_context"] = "Write the context as a number of tokens, such as 128000, 128k or 1M."
    sort = args.get("sort", "name")
    provider = args.get("provider", "")
    wanted = ModelFilter(
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
    return ModelsQuery(wanted, complaints)


def _parse_kind(args: MultiDict[str, str]) -> str:
    """Chat models unless something else is asked for; empty for every kind."""
    if args.get("all") == "yes":
        return ""
    kind = args.get("kind", "")
    return kind if kind in KINDS else "chat"


def parse_token_count(text: str) -> int | None:
    """ "128k", "1.5M" or "128000" as a number of tokens; None for anything else."""
    found = _TOKEN_COUNT.fullmatch(text.strip().replace(",", "").replace("_", ""))
    return int(Decimal(found[1]) * _MULTIPLIERS[found[2].lower()]) if found else None


def _parse_price(text: str, complaints: dict[str, str]) -> Decimal | None:
    plain = text.strip().removeprefix("$")
    if not plain:
        return None
    try:
        price = Decimal(plain)
    except InvalidOperation:
        price = Decimal("NaN")
    if price.is_finite() and 0 <= price < 10**6:
        return price
    complaints["max_price"] = "Write the price in USD per million tokens, such as 2.50."
    return None


def _query_args(wanted: ModelFilter, gone_too: bool) -> dict[str, str | list[str]]:
    """The filters as an address has them, for links to the next page and to another order."""
    query: dict[str, str | list[str]] = {
        "q": wanted.search,
        "provider": wanted.provider,
        "capability": sorted(wanted.capabilities),
        "all": "" if wanted.kind else "yes",
        "kind": "" if wanted.kind in ("", "chat") else wanted.kind,
        "max_price": "" if wanted.most_input_price is None else str(wanted.most_input_price),
        "min_context": "" if wanted.least_context is None else str(wanted.least_context),
        "new": "yes" if wanted.only_new else "",
        "show": "gone" if gone_too else "",
        "marks": "" if wanted.marks == "shown" else wanted.marks,
        "sort": "" if wanted.sort == "name" else wanted.sort,
    }
    return {name: value for name, value in query.items() if value}

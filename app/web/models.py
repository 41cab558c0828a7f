"""What my keys can use: found, compared, and one model with all who serve it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import cast

from flask import Blueprint, abort, render_template
from flask_login import current_user, login_required
from htmx_flask import request
from werkzeug.datastructures import MultiDict

from app.catalog.costs import Prices, Usage, monthly_cost
from app.catalog.listing import CAPABILITIES, KINDS
from app.providers import PROVIDERS
from app.store import catalog, model_pages, one_model
from app.store.model_pages import SORTS, ModelFilter, Sort
from app.web import showing, showing_facts

blueprint = Blueprint("models", __name__)

_LONGEST_SEARCH = 200
_COUNT = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([km]?)", re.IGNORECASE)
_TIMES = {"": 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for, and what of it could not be understood."""

    wanted: ModelFilter
    complaints: dict[str, str] = field(default_factory=dict)
    """Field → a sentence."""


@blueprint.get("/models")
@login_required
def index() -> str:
    asked = filter_of(request.args)
    gone_too = request.args.get("show") == "gone"
    page = model_pages.models(current_user.id, asked.wanted, showing.now(), request.args.get("after"))
    return render_template(
        "models/_list.html" if request.htmx else "models/index.html",
        page=page,
        wanted=asked.wanted,
        complaints=asked.complaints,
        given=request.args,
        gone=model_pages.gone(current_user.id, asked.wanted.provider) if gone_too else None,
        capabilities=CAPABILITIES,
        kinds=KINDS,
        query=_query(asked.wanted, gone_too),
    )


@blueprint.get("/models/<path:canonical_id>")
@login_required
def one(canonical_id: str) -> str:
    """One canonical model: its facts with their sources, who serves it, its history, and what a month would cost."""
    canonical = one_model.canonical(canonical_id)
    if canonical is None:
        abort(404)
    usage, complaints = usage_of(request.args)
    offers = one_model.offers(canonical, current_user.id)
    lines = [(offer, None if usage.is_empty else monthly_cost(usage, _prices(offer))) for offer in offers]
    return render_template(
        "models/_offers.html" if request.htmx else "models/one.html",
        model=canonical,
        facts=showing_facts.lines(catalog.sourced_facts(canonical)),
        lines=sorted(lines, key=_by_price if usage.is_empty else _cheapest_first),
        usage=usage,
        complaints=complaints,
        given=request.args,
        happenings=[] if request.htmx else one_model.happenings(canonical.id, current_user.id),
        successor=one_model.canonical(canonical.successor) if canonical.successor else None,
    )


def usage_of(args: MultiDict[str, str]) -> tuple[Usage, dict[str, str]]:
    """Tokens a month for the calculator; what is no number is told, and counts as none."""
    counts, complaints = {}, {}
    for name in ("input", "output", "cached"):
        text = args.get(name, "").strip()
        counts[name] = tokens_of(text) or 0
        if text and tokens_of(text) is None:
            complaints[name] = f"Write the {name} tokens as a number, such as 500000, 500k or 20M."
    return Usage(**counts), complaints


def _prices(offer: one_model.Offer) -> Prices:
    return Prices(offer.input_per_million, offer.output_per_million, offer.cache_read_per_million)


def _by_price(line: tuple[one_model.Offer, Decimal | None]) -> tuple[bool, Decimal, bool, str, str]:
    return _cheapest_first((line[0], line[0].input_per_million))


def _cheapest_first(line: tuple[one_model.Offer, Decimal | None]) -> tuple[bool, Decimal, bool, str, str]:
    offer, amount = line
    return (amount is None, amount or Decimal(0), not offer.is_mine, offer.provider, offer.provider_model_id)


def filter_of(args: MultiDict[str, str]) -> Asked:
    """Read the filters from an address. What is no number is told, and does not filter."""
    complaints: dict[str, str] = {}
    price = _price(args.get("max_price", ""), complaints)
    context = tokens_of(args.get("min_context", ""))
    if context is None and args.get("min_context", "").strip():
        complaints["min_context"] = "Write the context as a number of tokens, such as 128000, 128k or 1M."
    sort = args.get("sort", "name")
    provider = args.get("provider", "")
    wanted = ModelFilter(
        search=args.get("q", "").strip()[:_LONGEST_SEARCH],
        provider=provider if provider in PROVIDERS else "",
        capabilities=frozenset(args.getlist("capability")) & frozenset(CAPABILITIES),
        kind=_kind(args),
        most_input_price=price,
        least_context=context,
        only_new=args.get("new") == "yes",
        sort=cast(Sort, sort) if sort in SORTS else "name",
    )
    return Asked(wanted, complaints)


def _kind(args: MultiDict[str, str]) -> str:
    """Chat models unless something else is asked for; empty for every kind."""
    if args.get("all") == "yes":
        return ""
    kind = args.get("kind", "")
    return kind if kind in KINDS else "chat"


def tokens_of(text: str) -> int | None:
    """ "128k", "1.5M" or "128000" as a number of tokens; None for anything else."""
    found = _COUNT.fullmatch(text.strip().replace(",", "").replace("_", ""))
    return int(Decimal(found[1]) * _TIMES[found[2].lower()]) if found else None


def _price(text: str, complaints: dict[str, str]) -> Decimal | None:
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


def _query(wanted: ModelFilter, gone_too: bool) -> dict[str, str | list[str]]:
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
        "sort": "" if wanted.sort == "name" else wanted.sort,
    }
    return {name: value for name, value in query.items() if value}

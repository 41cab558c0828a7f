"""Admin pages of the catalog: sources, unknown models and proposals, conflicts, audit log.

A decision is saved in the request and shows on these pages at once. A worker then rebuilds the catalog and matches all
listings again, which takes too long for a request.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user

from app import clock
from app.catalog import proposals
from app.catalog.effective import FactConflict
from app.catalog.listing import ListedModel
from app.catalog.overrides import resolve_canonical_id
from app.catalog.sources import SOURCES
from app.extensions import db
from app.jobs import enqueue
from app.providers import PROVIDERS
from app.store import audit, catalog, decisions, sources
from app.store.audit import AuditView
from app.store.decisions import AUTO_ADOPT, DecisionError
from app.store.queries import review
from app.store.queries.review import ConflictView
from app.web.admin import canonical_form
from app.web.admin.overview import admin_required
from app.web.app import filters_catalog
from app.web.app.arguments import current_actor, cursor, parse_id, parse_time, require

blueprint = Blueprint("catalog", __name__, url_prefix="/admin/catalog")

for _name, _filter in filters_catalog.FILTERS.items():
    blueprint.add_app_template_filter(_filter, _name)

ALREADY_SETTLED = "This was settled meanwhile, or no key lists the model any more."
PROPOSAL_GONE = "This is not proposed any more: one of the providers says something else by now."
CONFLICT_CHANGED = "One of the two says something else by now: look again, then decide."
DECISION_WAITS = (
    "No worker is running. What you decided is saved; the catalog follows when one does: tell the operator."
)
REFRESH_WAITS = "No worker is running. The refresh waits for one: tell the operator."
_MAX_REFRESHES = 10
_MAX_ID_LENGTH = 300
_POLL_FOR = timedelta(seconds=60)
"""How long the page polls for the end of a refresh."""


def _is_partial() -> bool:
    """Whether htmx asks for the partial."""
    return "HX-Request" in request.headers


def _commit_decision(page: str) -> Any:
    """Commit a decision, queue a rebuild, and render the page again with a link to undo."""
    entries = audit.list_entries(size=1)[0]
    db.session.commit()
    problem = enqueue.enqueue_rebuild() or (DECISION_WAITS if enqueue.queue_problem() else None)
    # A repeated decision writes no entry; the newest may then be another admin's.
    return _render_or_redirect(
        page, next((line.id for line in entries if line.actor == current_user.email), None), problem
    )


def _render_or_redirect(page: str, done: int | None, problem: str | None) -> Any:
    """Render the partial for htmx, else redirect to the page."""
    if _is_partial():
        return _PAGES[page](done=done, problem=problem)
    if problem:
        flash(problem, "warn")
    return redirect(url_for(f".{page}", **{**_page_query(), "done": done}), 303)


def _render_error(page: str, error: str, **context: Any) -> Any:
    """Render the page with an error; nothing is written, and the input is kept."""
    db.session.rollback()
    return _PAGES[page](error=error, **context), 422


def _page_query() -> dict[str, Any]:
    """The current view (filters, page), kept by all links and forms."""
    args = {"provider": request.args.get("provider", ""), "left": request.args.get("left", ""), "before": cursor()}
    return {name: value for name, value in args.items() if value}


def _view_entry(done: int | None = None) -> AuditView | None:
    """The audit entry of the decision just taken, shown with its undo button."""
    entry_id = parse_id(request.args.get("done", "")) if done is None else done
    if entry_id is None:
        return None
    lines, _ = audit.list_entries(before=entry_id + 1, size=1)
    return lines[0] if lines and lines[0].id == entry_id else None


# ------------------------------------------------------------------ the catalog in force


@blueprint.get("")
@admin_required
def overview() -> str:
    return _render_overview(request.args.get("asked", ""), request.args.get("since", ""))


@blueprint.post("/refresh")
@admin_required
def refresh() -> Any:
    """Queue a refresh of one or all public catalogs."""
    requested = request.form.get("source", "")
    names = [name for name in SOURCES if requested in ("", name)]
    if not names:
        abort(404)
    since = clock.utc_now().isoformat()
    problem = {sentence for name in names if (sentence := enqueue.enqueue_refresh(name, "button"))}
    requested = "" if problem else ",".join(names)
    if _is_partial():
        return _render_overview(requested, since, *problem)
    for sentence in problem:
        flash(sentence, "bad")
    return redirect(url_for(".overview", asked=requested, since=since), 303)


def _render_overview(asked: str, since: str, problem: str | None = None) -> str:
    manual = decisions.load()
    proposed, unknown_count = review.list_proposals(manual)
    conflict_count, is_more = review.count_conflicts(manual)
    lines = sources.list_sources()
    since_at = parse_time(since)
    pending = {
        line.name
        for line in lines
        if since_at and line.name in asked.split(",") and (line.checked_at is None or line.checked_at < since_at)
    }
    return render_template(
        "catalog/_overview.html" if _is_partial() else "catalog/overview.html",
        in_force=catalog.version_in_force(),
        sources=lines,
        files=SOURCES,
        refreshes=sources.list_refreshes(_MAX_REFRESHES),
        unknown_count=unknown_count,
        proposed_count=len(proposed),
        conflict_count=conflict_count,
        is_more=is_more,
        waits=pending,
        asks_again=bool(pending) and since_at is not None and (clock.utc_now() - since_at) < _POLL_FOR,
        asked=asked,
        since=since,
        problem=problem or (REFRESH_WAITS if pending and enqueue.queue_problem() else None),
    )


# ------------------------------------------------------------------ unknown models and proposals


@blueprint.get("/unknown")
@admin_required
def unknown() -> str:
    return _render_unknown()


def _render_unknown(
    done: int | None = None, error: str = "", subject: str = "", typed: str = "", problem: str | None = None
) -> str:
    _, known = catalog.load_index()
    manual = decisions.load("canonical", "setting")
    provider = request.args.get("provider", "")
    provider = provider if provider in PROVIDERS else ""
    include_unmatched = request.args.get("left") == "yes"
    page = review.list_unknown(known, manual, provider, left_too=include_unmatched, before=cursor())
    return render_template(
        "catalog/_unknown.html" if _is_partial() else "catalog/unknown.html",
        page=page,
        proposed=[] if cursor() else review.list_proposals(manual)[0],
        adopts=bool(manual.settings.get(AUTO_ADOPT)),
        provider=provider,
        left_too=include_unmatched,
        query=_page_query(),
        following=page.following,
        entry=_view_entry(done),
        error=error,
        problem=problem,
        subject=subject,
        typed=typed,
    )


@blueprint.get("/ids")
@admin_required
def ids() -> Any:
    """Autocompletion of canonical ids."""
    canonical_ids = review.suggest_ids(request.args.get("canonical_id", "")[:_MAX_ID_LENGTH])
    return render_template("catalog/_ids.html", ids=canonical_ids)


@blueprint.post("/unknown/match")
@admin_required
def match() -> Any:
    """Match a provider's model id with a canonical model, given by id or any known name."""
    slug, model_id = _form_subject()
    text = request.form.get("canonical_id", "").strip()[:_MAX_ID_LENGTH]
    subject = decisions.match_subject(slug, model_id)
    _, known = catalog.load_index()
    canonical_id = text if decisions.is_known(text) else resolve_canonical_id(known, slug, text.lower())
    if canonical_id is None:
        sentence = f"The catalog has no model “{text}”." if text else "Write the id of a canonical model first."
        return _render_error("unknown", sentence, subject=subject, typed=text)
    decisions.save_match(slug, model_id, canonical_id, current_actor(), clock.utc_now())
    return _commit_decision("unknown")


@blueprint.post("/unknown/leave")
@admin_required
def leave() -> Any:
    """Mark a model id as deliberately unmatched."""
    slug, model_id = _form_subject()
    decisions.save_match(slug, model_id, None, current_actor(), clock.utc_now())
    return _commit_decision("unknown")


@blueprint.get("/new")
@admin_required
def new() -> str:
    slug, model_id, listing = _require_listed(request.args.get("provider", ""), request.args.get("model_id", ""))
    values = canonical_form.form_values(proposals.suggest_model(slug, listing))
    return render_template("catalog/new.html", provider=slug, model_id=model_id, values=values, errors={})


@blueprint.post("/new")
@admin_required
def create() -> Any:
    """Create a canonical model from a listing, with the facts of the form."""
    slug, model_id, listing = _require_listed(request.form.get("provider", ""), request.form.get("model_id", ""))
    facts, errors = canonical_form.parse_form(request.form)
    if "id" not in errors and decisions.is_known(facts["id"]):
        errors["id"] = "The catalog has a model of this id already: match the provider's id with it instead."
    if errors:
        values = request.form.to_dict()
        page = render_template("catalog/new.html", provider=slug, model_id=model_id, values=values, errors=errors)
        return page, 422
    model = msgspec.structs.replace(proposals.suggest_model(slug, listing), **facts)
    decisions.save_canonical(model, current_actor(), clock.utc_now(), f"Made out of {model_id} at {slug}.")
    return _commit_decision("unknown")


@blueprint.post("/proposals/accept")
@admin_required
def accept() -> Any:
    proposal = _find_proposal()
    if proposal is None:
        return _render_error("unknown", PROPOSAL_GONE)
    decisions.save_canonical(proposal.model, current_actor(), clock.utc_now(), proposals.describe_evidence(proposal))
    return _commit_decision("unknown")


@blueprint.post("/proposals/dismiss")
@admin_required
def dismiss() -> Any:
    proposal = _find_proposal()
    if proposal is None:
        return _render_error("unknown", PROPOSAL_GONE)
    decisions.save_setting(decisions.dismissed_proposal_name(proposal.model.id), True, current_actor(), clock.utc_now())
    return _commit_decision("unknown")


@blueprint.post("/proposals/adopting")
@admin_required
def set_adopting() -> Any:
    """Whether proposals are adopted automatically, from the next sync on."""
    decisions.save_setting(AUTO_ADOPT, request.form.get("adopt") == "yes", current_actor(), clock.utc_now())
    return _commit_decision("unknown")


def _find_proposal() -> proposals.Proposal | None:
    proposals_found, _ = review.list_proposals(decisions.load("canonical", "setting"))
    return next((proposal for proposal in proposals_found if proposal.model.id == request.form.get("id")), None)


def _form_subject() -> tuple[str, str]:
    """The provider and model id of the form; 404 if no key lists it."""
    slug, model_id, _ = _require_listed(request.form.get("provider", ""), request.form.get("model_id", ""))
    return slug, model_id


def _require_listed(slug: str, model_id: str) -> tuple[str, str, ListedModel]:
    return slug, model_id, require(review.find_listed_model(slug, model_id))


# ------------------------------------------------------------------ conflicts


@blueprint.get("/conflicts")
@admin_required
def conflicts() -> str:
    return _render_conflicts()


def _render_conflicts(done: int | None = None, error: str = "", problem: str | None = None) -> str:
    lines, following = review.list_conflicts(decisions.load("field", "setting"), cursor())
    return render_template(
        "catalog/_conflicts.html" if _is_partial() else "catalog/conflicts.html",
        lines=lines,
        following=following,
        query=_page_query(),
        entry=_view_entry(done),
        error=error,
        problem=problem,
    )


@blueprint.post("/conflicts/settle")
@admin_required
def settle() -> Any:
    """Settle one field: the catalog is right, the provider is right, or both are. Valid while both values stay the
    same."""
    model_id = parse_id(request.form.get("model", ""))
    line = None if model_id is None else review.find_conflict(model_id, decisions.load("field", "setting"))
    candidates = line.conflicts if line else ()
    conflict = next((one for one in candidates if one.field == request.form.get("field")), None)
    if line is None or conflict is None:
        return _render_error("conflicts", ALREADY_SETTLED)
    if request.form.get("said") != f"{conflict.catalog_value}|{conflict.provider_value}":
        return _render_error("conflicts", CONFLICT_CHANGED)
    try:
        _settle(line, conflict, request.form.get("choice", ""))
    except DecisionError as error:
        return _render_error("conflicts", str(error))
    return _commit_decision("conflicts")


def _settle(line: ConflictView, conflict: FactConflict, choice: str) -> None:
    actor, now = current_actor(), clock.utc_now()
    if choice == "catalog":
        decisions.keep_catalog_value(line.provider, line.canonical.id, conflict, actor, now)
    elif choice == "provider":
        decisions.adopt_provider_value(line.provider, line.canonical.id, conflict, actor, now)
    elif choice == "both":
        decisions.accept_conflict(line.provider, line.model_id, conflict, actor, now)
    else:
        raise DecisionError("Choose one of the three.")


# ------------------------------------------------------------------ the audit log


@blueprint.get("/audit")
@admin_required
def log() -> str:
    return _render_log()


def _render_log(done: int | None = None, error: str = "", problem: str | None = None) -> str:
    lines, following = audit.list_entries(cursor())
    return render_template(
        "catalog/_log.html" if _is_partial() else "catalog/log.html",
        lines=lines,
        following=following,
        query=_page_query(),
        entry=None,
        error=error,
        problem=problem,
    )


@blueprint.post("/audit/undo")
@admin_required
def undo() -> Any:
    """Undo an audit log entry, from any page that shows it."""
    page = request.form.get("page", "")
    if page not in _PAGES:
        page = "log"
    try:
        decisions.undo(parse_id(request.form.get("entry", "")) or 0, current_actor(), clock.utc_now())
    except DecisionError as error:
        return _render_error(page, str(error))
    return _commit_decision(page)


_PAGES: dict[str, Callable[..., str]] = {"unknown": _render_unknown, "conflicts": _render_conflicts, "log": _render_log}
"""Endpoint → function that renders its page or, for htmx, its partial."""

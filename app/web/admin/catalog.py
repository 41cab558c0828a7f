"""For admins: the catalog in force, what it does not know or is contradicted about, and the log of what was decided.

A decision is stored within the request and counts on these pages at once. The catalog itself follows in a worker:
building it and matching every listing anew takes longer than a person should wait for a button.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user

from app import jobs
from app.catalog import proposals
from app.catalog.listing import ListedModel
from app.catalog.overrides import FactConflict, resolve_canonical_id
from app.catalog.sources import SOURCES
from app.extensions import db
from app.providers import PROVIDERS
from app.store import audit, catalog, decisions, sources
from app.store.audit import Actor, AuditView
from app.store.decisions import AUTO_ADOPT, DecisionError
from app.store.queries import review
from app.store.queries.review import ConflictView
from app.web.admin import canonical_form
from app.web.admin.overview import admin_required
from app.web.app import filters, filters_catalog
from app.web.history.runs import cursor

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
_POLL_FOR_S = 60
"""For so long the page asks by itself whether a refresh is done."""


def _is_partial() -> bool:
    """Whether htmx asks, for the piece of the page that it swaps."""
    return "HX-Request" in request.headers


def _actor() -> Actor:
    return Actor(current_user.id, current_user.email)


def _commit_decision(page: str) -> Any:
    """Keep what was just decided, have the catalog follow, and show the page again with the way back."""
    newest = audit.list_entries(size=1)[0]
    db.session.commit()
    trouble = jobs.enqueue_rebuild() or (DECISION_WAITS if jobs.queue_problem() else None)
    # What was decided already wrote no entry: then the newest may be another admin's.
    return _render_or_redirect(
        page, next((line.id for line in newest if line.actor == current_user.email), None), trouble
    )


def _render_or_redirect(page: str, done: int | None, trouble: str | None) -> Any:
    """The page that was acted on: as a partial for htmx, else by a redirect."""
    if _is_partial():
        return _PAGES[page](done=done, trouble=trouble)
    if trouble:
        flash(trouble, "warn")
    return redirect(url_for(f".{page}", **{**_page_query(), "done": done}), 303)


def _render_error(page: str, error: str, **context: Any) -> Any:
    """One sentence on the page that was acted on; nothing was written, and what was typed is still there."""
    db.session.rollback()
    return _PAGES[page](error=error, **context), 422


def _page_query() -> dict[str, Any]:
    """Which part of a page is open: kept by every link and form on it."""
    kept = {"provider": request.args.get("provider", ""), "left": request.args.get("left", ""), "before": cursor()}
    return {name: value for name, value in kept.items() if value}


def _shown_entry(done: int | None = None) -> AuditView | None:
    """The decision that the page tells of, after it was taken."""
    number = request.args.get("done", "") if done is None else str(done)
    if not _is_id(number):
        return None
    lines, _ = audit.list_entries(before=int(number) + 1, size=1)
    return lines[0] if lines and lines[0].id == int(number) else None


# ------------------------------------------------------------------ the catalog in force


@blueprint.get("")
@admin_required
def overview() -> str:
    return _render_overview(request.args.get("asked", ""), request.args.get("since", ""))


@blueprint.post("/refresh")
@admin_required
def refresh() -> Any:
    """Have a worker refresh one source, or all public catalogs."""
    asked = request.form.get("source", "")
    names = [name for name in SOURCES if asked in ("", name)]
    if not names:
        abort(404)
    since = filters.now().isoformat()
    trouble = {sentence for name in names if (sentence := jobs.enqueue_refresh(name, "button"))}
    asked = "" if trouble else ",".join(names)
    if _is_partial():
        return _render_overview(asked, since, *trouble)
    for sentence in trouble:
        flash(sentence, "bad")
    return redirect(url_for(".overview", asked=asked, since=since), 303)


def _render_overview(asked: str, since: str, trouble: str | None = None) -> str:
    decided = decisions.load()
    proposed, unknown_count = review.list_proposals(decided)
    conflict_count, is_more = review.count_conflicts(decided)
    lines = sources.list_sources()
    moment = _parse_time(since)
    waits = {
        line.name
        for line in lines
        if moment and line.name in asked.split(",") and (line.checked_at is None or line.checked_at < moment)
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
        waits=waits,
        asks_again=bool(waits) and moment is not None and (filters.now() - moment).total_seconds() < _POLL_FOR_S,
        asked=asked,
        since=since,
        trouble=trouble or (REFRESH_WAITS if waits and jobs.queue_problem() else None),
    )


def _parse_time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):  # the second: a moment that in UTC is before the first year, or after the last
        return None


# ------------------------------------------------------------------ unknown models and proposals


@blueprint.get("/unknown")
@admin_required
def unknown() -> str:
    return _render_unknown()


def _render_unknown(
    done: int | None = None, error: str = "", subject: str = "", typed: str = "", trouble: str | None = None
) -> str:
    _, known = catalog.load_index()
    decided = decisions.load("canonical", "setting")
    provider = request.args.get("provider", "")
    provider = provider if provider in PROVIDERS else ""
    left_too = request.args.get("left") == "yes"
    page = review.list_unknown(known, decided, provider, left_too=left_too, before=cursor())
    return render_template(
        "catalog/_unknown.html" if _is_partial() else "catalog/unknown.html",
        page=page,
        proposed=[] if cursor() else review.list_proposals(decided)[0],
        adopts=bool(decided.settings.get(AUTO_ADOPT)),
        provider=provider,
        left_too=left_too,
        query=_page_query(),
        following=page.following,
        entry=_shown_entry(done),
        error=error,
        trouble=trouble,
        subject=subject,
        typed=typed,
    )


@blueprint.get("/ids")
@admin_required
def ids() -> Any:
    """Canonical ids that fit what is being typed, for the lists under the fields."""
    found = review.suggest_ids(request.args.get("canonical_id", "")[:_MAX_ID_LENGTH])
    return render_template("catalog/_ids.html", ids=found)


@blueprint.post("/unknown/match")
@admin_required
def match() -> Any:
    """What a provider's id means: a candidate, or another model by any of its plain names."""
    slug, model_id = _form_subject()
    typed = request.form.get("canonical_id", "").strip()[:_MAX_ID_LENGTH]
    subject = decisions.match_subject(slug, model_id)
    _, known = catalog.load_index()
    canonical_id = typed if decisions.is_known(typed) else resolve_canonical_id(known, slug, typed.lower())
    if canonical_id is None:
        sentence = f"The catalog has no model “{typed}”." if typed else "Write the id of a canonical model first."
        return _render_error("unknown", sentence, subject=subject, typed=typed)
    decisions.save_match(slug, model_id, canonical_id, _actor(), filters.now())
    return _commit_decision("unknown")


@blueprint.post("/unknown/leave")
@admin_required
def leave() -> Any:
    """Nothing in the catalog is what this id means: it stays unknown, and off the page."""
    slug, model_id = _form_subject()
    decisions.save_match(slug, model_id, None, _actor(), filters.now())
    return _commit_decision("unknown")


@blueprint.get("/new")
@admin_required
def new() -> str:
    slug, model_id, listed = _require_listed(request.args.get("provider", ""), request.args.get("model_id", ""))
    suggested = canonical_form.form_values(proposals.suggest_model(slug, listed))
    return render_template("catalog/new.html", provider=slug, model_id=model_id, values=suggested, complaints={})


@blueprint.post("/new")
@admin_required
def create() -> Any:
    """A canonical model out of a listing, with its facts as the admin left them in the form."""
    slug, model_id, listed = _require_listed(request.form.get("provider", ""), request.form.get("model_id", ""))
    facts, complaints = canonical_form.parse_form(request.form)
    if "id" not in complaints and decisions.is_known(facts["id"]):
        complaints["id"] = "The catalog has a model of this id already: match the provider's id with it instead."
    if complaints:
        values = request.form.to_dict()
        page = render_template(
            "catalog/new.html", provider=slug, model_id=model_id, values=values, complaints=complaints
        )
        return page, 422
    model = msgspec.structs.replace(proposals.suggest_model(slug, listed), **facts)
    decisions.save_canonical(model, _actor(), filters.now(), f"Made out of {model_id} at {slug}.")
    return _commit_decision("unknown")


@blueprint.post("/proposals/accept")
@admin_required
def accept() -> Any:
    proposed = _find_proposal()
    if proposed is None:
        return _render_error("unknown", PROPOSAL_GONE)
    decisions.save_canonical(proposed.model, _actor(), filters.now(), proposals.describe_evidence(proposed))
    return _commit_decision("unknown")


@blueprint.post("/proposals/dismiss")
@admin_required
def dismiss() -> Any:
    proposed = _find_proposal()
    if proposed is None:
        return _render_error("unknown", PROPOSAL_GONE)
    decisions.save_setting(decisions.dismissed_proposal_name(proposed.model.id), True, _actor(), filters.now())
    return _commit_decision("unknown")


@blueprint.post("/proposals/adopting")
@admin_required
def set_adopting() -> Any:
    """Whether proposals become canonical models by themselves, from the next sync on."""
    decisions.save_setting(AUTO_ADOPT, request.form.get("adopt") == "yes", _actor(), filters.now())
    return _commit_decision("unknown")


def _find_proposal() -> proposals.Proposal | None:
    found, _ = review.list_proposals(decisions.load("canonical", "setting"))
    return next((one for one in found if one.model.id == request.form.get("id")), None)


def _form_subject() -> tuple[str, str]:
    """The provider and the id that a form is about; what nobody lists cannot be decided about."""
    slug, model_id, _ = _require_listed(request.form.get("provider", ""), request.form.get("model_id", ""))
    return slug, model_id


def _require_listed(slug: str, model_id: str) -> tuple[str, str, ListedModel]:
    found = review.find_listed_model(slug, model_id)
    if found is None:
        abort(404)
    return slug, model_id, found


# ------------------------------------------------------------------ conflicts


@blueprint.get("/conflicts")
@admin_required
def conflicts() -> str:
    return _render_conflicts()


def _render_conflicts(done: int | None = None, error: str = "", trouble: str | None = None) -> str:
    lines, following = review.list_conflicts(decisions.load("field", "setting"), cursor())
    return render_template(
        "catalog/_conflicts.html" if _is_partial() else "catalog/conflicts.html",
        lines=lines,
        following=following,
        query=_page_query(),
        entry=_shown_entry(done),
        error=error,
        trouble=trouble,
    )


@blueprint.post("/conflicts/settle")
@admin_required
def settle() -> Any:
    """The catalog is right, the provider is, or both are; for one field, and only as long as both say the same."""
    number = request.form.get("model", "")
    line = review.find_conflict(int(number), decisions.load("field", "setting")) if _is_id(number) else None
    found = next((one for one in line.conflicts if one.field == request.form.get("field")), None) if line else None
    if line is None or found is None:
        return _render_error("conflicts", ALREADY_SETTLED)
    if request.form.get("said") != f"{found.catalog_value}|{found.provider_value}":
        return _render_error("conflicts", CONFLICT_CHANGED)
    try:
        _settle(line, found, request.form.get("choice", ""))
    except DecisionError as error:
        return _render_error("conflicts", str(error))
    return _commit_decision("conflicts")


def _settle(line: ConflictView, found: FactConflict, choice: str) -> None:
    actor, now = _actor(), filters.now()
    if choice == "catalog":
        decisions.keep_catalog_value(line.provider, line.canonical.id, found, actor, now)
    elif choice == "provider":
        decisions.adopt_provider_value(line.provider, line.canonical.id, found, actor, now)
    elif choice == "both":
        decisions.accept_conflict(line.provider, line.model_id, found, actor, now)
    else:
        raise DecisionError("Choose one of the three.")


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


# ------------------------------------------------------------------ the audit log


@blueprint.get("/audit")
@admin_required
def log() -> str:
    return _render_log()


def _render_log(done: int | None = None, error: str = "", trouble: str | None = None) -> str:
    lines, following = audit.list_entries(cursor())
    return render_template(
        "catalog/_log.html" if _is_partial() else "catalog/log.html",
        lines=lines,
        following=following,
        query=_page_query(),
        entry=None,
        error=error,
        trouble=trouble,
    )


@blueprint.post("/audit/undo")
@admin_required
def undo() -> Any:
    """Take an entry back, from whichever page shows it."""
    page = request.form.get("page", "")
    if page not in _PAGES:
        page = "log"
    number = request.form.get("entry", "")
    try:
        decisions.undo(int(number) if _is_id(number) else 0, _actor(), filters.now())
    except DecisionError as error:
        return _render_error(page, str(error))
    return _commit_decision(page)


_PAGES: dict[str, Callable[..., str]] = {"unknown": _render_unknown, "conflicts": _render_conflicts, "log": _render_log}
"""Endpoint → what shows it, as a page or for htmx as its partial."""

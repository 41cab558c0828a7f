"""`/admin/model-sync`: the shared catalog synced with the server's own keys, in the words of the owner's documents.

A request that starts something waits for its end, but no longer than twenty seconds; then, or at once with
`?wait=false`, the answer is 202 with the address to look at. A dry run makes a plan, which can be applied as it is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from flask import Blueprint, Response, url_for

from app import config, jobs
from app.api.admin_auth import admin_limit_key, admit_admin
from app.api.admin_schemas import AllQuery, CatalogState, OneQuery, ServerSync, SyncableProviders, WaitQuery, WatchQuery
from app.api.operations import JSON, READS, WRITES, for_admins, read_query
from app.api.problems import Refused
from app.api.sync_report import Line, Report, answered, dry, errors_of, under_way
from app.extensions import csrf, db, limiter
from app.jobs import monitoring
from app.store import credentials, plans, runs
from app.store.accounts import users
from app.store.accounts.tokens import Scope
from app.store.audit import Actor
from app.store.plans import Plan
from app.store.queries import runs as run_queries
from app.store.queries import stats
from app.store.queries.runs import RunView
from app.web.app import filters
from app.web.sync import close_lost

blueprint = Blueprint("model_sync", __name__, url_prefix="/admin/model-sync")
csrf.exempt(blueprint)  # a bearer's request has none; a session's is checked in `doors.admit`

WAIT_S = 20.0
"""So long a request waits for the end of what it started."""
_LOOK_EVERY_S = 1.0
_reads = limiter.shared_limit(READS, scope="api read", key_func=admin_limit_key)
_writes = limiter.shared_limit(WRITES, scope="api sync", key_func=admin_limit_key)

Seen = TypeVar("Seen", RunView, Plan)


# ------------------------------------------------------------------ reading


@blueprint.get("/providers")
@for_admins({200: SyncableProviders})
@_reads
def providers() -> Response:
    """Providers that can be synced."""
    admit_admin("read")
    return _json({"providers": list(jobs.SYNCABLE), "count": len(jobs.SYNCABLE)})


@blueprint.get("/status")
@for_admins({200: CatalogState})
@_reads
def status() -> Response:
    """How the shared catalog does."""
    admit_admin("read")
    of_providers, of_models = stats.provider_stats(filters.now()), stats.model_stats()
    here = {one.slug for one in of_providers.providers}
    fetchable = len(here.intersection(jobs.SYNCABLE))
    told = {
        "providers": {
            "in_database": of_providers.total,
            "with_fetch_functions": len(jobs.SYNCABLE),
            "fetchable_in_db": fetchable,
            "fetchable_not_in_db": len(jobs.SYNCABLE) - fetchable,
            "stats": {"total": of_providers.total, "active": of_providers.active, "healthy": of_providers.healthy},
        },
        "models": {
            "stats": {
                "total": of_models.total,
                "active": of_models.active,
                "by_modality": dict(of_models.by_modality),
            }
        },
        "last_sync": _last_sync(),
        "interval_hours": config.current().sync_interval_hours,
    }
    return _json(told)


@blueprint.get("/runs/<int:run_id>")
@for_admins({200: ServerSync, 202: ServerSync}, query=WatchQuery)
@_reads
def run(run_id: int) -> Response:
    """A sync that was started here: 202 while it is under way, then the same answer as from the start."""
    admit_admin("read")
    query = _read(WatchQuery)
    close_lost()
    server = users.server_account(filters.now(), make=False)
    found = run_queries.load_run(run_id, server.id) if server else None
    if found is None or query.provider not in ("", *(result.provider for result in found.results)):
        raise Refused(HTTPStatus.NOT_FOUND, "There is no such sync with the server's own keys.")
    return _told(found, [query.provider] if query.provider else [], query.provider, None)


@blueprint.get("/plans/<int:plan_id>")
@for_admins({200: ServerSync, 202: ServerSync}, query=WatchQuery)
@_reads
def plan(plan_id: int) -> Response:
    """A plan that a dry run makes: 202 until it is made."""
    admit_admin("read")
    query = _read(WatchQuery)
    found = plans.get(plan_id)
    if found is None or query.provider not in ("", *found.providers):
        raise Refused(HTTPStatus.NOT_FOUND, f"There is no plan {plan_id}.")
    return _shown(found, query.provider, None)


# ------------------------------------------------------------------ starting


@blueprint.post("/provider/<provider_slug>")
@for_admins({200: ServerSync, 202: ServerSync}, scope="sync", query=OneQuery, also=(409,))
@_writes
def sync_one(provider_slug: str) -> Response:
    """Sync one provider with the server's own key.

    Answered when it is over, but after twenty seconds at the latest, then with 202.
    """
    actor = _actor("sync")
    query = _read(OneQuery)
    _refuse_unknown([provider_slug])
    return _start([provider_slug], provider_slug, query, actor)


@blueprint.post("/all")
@for_admins({200: ServerSync, 202: ServerSync}, scope="sync", query=AllQuery, also=(409,))
@_writes
def sync_all() -> Response:
    """Sync all providers, or those that are named, with the server's own keys.

    Answered as the sync of one.
    """
    actor = _actor("sync")
    query = _read(AllQuery)
    _refuse_unknown(query.providers)
    return _start(list(dict.fromkeys(query.providers)), "", query, actor)


@blueprint.post("/plans/<int:plan_id>/apply")
@for_admins({200: ServerSync, 202: ServerSync}, scope="sync", query=WaitQuery, also=(409,))
@_writes
def apply(plan_id: int) -> Response:
    """Write exactly what a plan shows, without asking anybody again."""
    actor = _actor("sync")
    query = _read(WaitQuery)
    try:
        begun = jobs.start_apply(plan_id, actor, "api")
    except LookupError as error:
        raise Refused(HTTPStatus.NOT_FOUND, str(error.args[0])) from None
    except jobs.Stale as error:
        raise Refused(HTTPStatus.CONFLICT, str(error)) from None
    except jobs.Busy as error:
        raise _busy(error.run_id) from None
    return _wait_for_run(begun, [], "", _deadline(query.wait))


def _start(slugs: Sequence[str], single: str, query: OneQuery, actor: Actor) -> Response:
    """single: the provider as which to answer; empty: as for many."""
    deadline = _deadline(query.wait)
    if query.dry_run:
        plan_id, trouble = jobs.start_plan(actor, slugs)
        until = 0.0 if trouble else deadline
        return _shown(_there(_end_of_plan(plan_id, until)), single, trouble)
    return _wait_for_run(_begin(slugs, actor, deadline), slugs, single, deadline)


def _begin(slugs: Sequence[str], actor: Actor, deadline: float) -> jobs.EnqueuedRun:
    """A new run, or the live one if it is over these providers too; another live one is waited for.

    Raises Refused (409) if that does not end in time.
    """
    wanted = set(slugs or _enabled())
    while True:
        begun = jobs.start_server_sync("api", slugs, actor)
        if begun.is_new:
            return begun
        live = run_queries.load_run(begun.run_id)
        if live and wanted <= {result.provider for result in live.results}:
            return begun
        if begun.trouble or time.monotonic() >= deadline:
            raise _busy(begun.run_id)
        _end_of_run(begun.run_id, deadline)


def _wait_for_run(begun: jobs.EnqueuedRun, slugs: Sequence[str], single: str, deadline: float) -> Response:
    until = 0.0 if begun.trouble else deadline  # nobody is there to end it
    return _told(_there(_end_of_run(begun.run_id, until)), slugs, single, begun.trouble)


def _end_of_run(run_id: int, deadline: float) -> RunView | None:
    return _end_of(
        lambda: run_queries.load_run(run_id), monitoring.watch_run(run_id, longest_s=_LOOK_EVERY_S), deadline
    )


def _end_of_plan(plan_id: int, deadline: float) -> Plan | None:
    return _end_of(lambda: plans.get(plan_id), monitoring.watch_plan(plan_id, longest_s=_LOOK_EVERY_S), deadline)


def _end_of(look: Callable[[], Seen | None], news: Iterator[object], deadline: float) -> Seen | None:
    """What is seen once it is over, or when the time is. No connection to the database is held while waiting."""
    seen = look()
    if seen is None or _is_over(seen) or time.monotonic() >= deadline:
        return seen
    db.session.remove()
    with contextlib.closing(news):  # type: ignore[type-var]  # a generator
        for _ in news:
            seen = look()
            db.session.remove()
            if seen is None or _is_over(seen) or time.monotonic() >= deadline:
                break
    return seen


def _is_over(seen: RunView | Plan) -> bool:
    return not seen.is_live if isinstance(seen, RunView) else seen.made_at is not None


def _there(seen: Seen | None) -> Seen:
    if seen is None:
        raise Refused(HTTPStatus.NOT_FOUND, "It was deleted while it was under way.")
    return seen


# ------------------------------------------------------------------ answering


def _told(found: RunView, slugs: Collection[str], single: str, trouble: str | None) -> Response:
    """A run, or what it brought at these providers, as an answer."""
    lines: list[Line] = [result for result in found.results if not slugs or result.provider in slugs]
    address = url_for(".run", run_id=found.id, provider=single or None)
    about = {"run_id": found.id, "status_url": address}
    if found.is_live:
        return _json(under_way(single, {**about, "state": found.state, "notice": trouble}), address)
    return _json(answered(lines, single, _ids(), about, is_whole=found.state == "done"))


def _shown(found: Plan, single: str, trouble: str | None) -> Response:
    """A plan as an answer."""
    about: Report = {
        "plan_id": found.id,
        "plan_url": url_for("admin_sync.plan", plan_id=found.id),
        "status_url": url_for(".plan", plan_id=found.id, provider=single or None),
        "state": found.state(filters.now()),
    }
    if found.made_at is None:
        return _json(under_way(single, {**about, "notice": trouble}, dry_run=True), about["status_url"])
    about |= {"apply_url": url_for(".apply", plan_id=found.id), "objection": jobs.plan_objection(found)}
    if found.error_message:
        return _json({"success": False, "message": f"Dry run: {found.error_message}", "details": about})
    return _json(dry(found.parts, single, _ids(), about))


def _json(body: Report, location: str = "") -> Response:
    """In the order of the documents' examples. location: where to look at what is under way."""
    headers = {"Location": location} if location else {}
    return Response(msgspec.json.encode(body), 202 if location else 200, headers, mimetype=JSON)


def _last_sync() -> Report | None:
    server = users.server_account(filters.now(), make=False)
    last = runs.last_finished(server.id) if server else None
    found = run_queries.load_run(last.id) if last else None
    if found is None:
        return None
    lines: list[Line] = [*found.results]
    return {
        "run_id": found.id,
        "synced_at": filters.isoformat(found.ended_at),
        "providers_processed": len(lines),
        "errors": errors_of(lines),
        "status_url": url_for(".run", run_id=found.id),
    }


# ------------------------------------------------------------------ asking


def _actor(scope: Scope) -> Actor:
    """Whoever is calling, for the audit log."""
    caller = admit_admin(scope)
    return Actor(caller.user.id, caller.user.email) if caller else Actor(None, "ADMIN_API_KEY")


def _read(shape: type[Any]) -> Any:
    return read_query(shape)


def _refuse_unknown(slugs: Collection[str]) -> None:
    """Raises Refused: 404 for a provider that is not known here, 409 for one that an admin disabled."""
    for slug in slugs:
        if slug not in jobs.SYNCABLE:
            raise Refused(
                HTTPStatus.NOT_FOUND,
                f"There is no such provider here. GET {url_for('.providers')} names those that can be synced.",
            )
    if disabled := sorted(set(slugs) - _enabled()):
        titles = ", ".join(filters.provider_title(slug) for slug in disabled)
        raise Refused(HTTPStatus.CONFLICT, f"Disabled by an admin: {titles}. Enable it first, or leave it out.")
    if not slugs and not _enabled():
        raise Refused(HTTPStatus.CONFLICT, "All providers are disabled. Enable one first.")


def _enabled() -> set[str]:
    return {slug for slug, row in credentials.providers_by_slug().items() if row.is_active} & set(jobs.SYNCABLE)


def _busy(run_id: int) -> Refused:
    return Refused(
        HTTPStatus.CONFLICT,
        f"Sync {run_id} with the server's own keys is under way, at other providers. Try again when it is over.",
        headers={"Location": url_for(".run", run_id=run_id)},
    )


def _ids() -> dict[str, int]:
    return {slug: row.id for slug, row in credentials.providers_by_slug().items()}


def _deadline(waits: bool) -> float:
    return time.monotonic() + WAIT_S if waits else 0.0

"""`/admin/model-sync`: sync the shared catalog with the server's keys, with the original specification's field names.

A request that starts something waits up to `MAX_WAIT_S` for its end; then, or at once with `?wait=false`, it answers
202 with the status URL. A dry run makes a plan, which can be applied as it is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from http import HTTPStatus
from typing import TypeVar

import msgspec
from flask import Blueprint, Response, url_for

from app import clock, config
from app.api.admin_auth import admin_rate_limit_key, authenticate_admin
from app.api.admin_schemas import (
    CatalogState,
    ServerSync,
    SyncableProviders,
    SyncAllQuery,
    SyncQuery,
    WaitQuery,
    WatchQuery,
)
from app.api.operations import JSON, READS, WRITES, describe_admin, read_query
from app.api.problems import ApiError
from app.api.sync_report import Report, build_pending_report, build_plan_report, build_report
from app.extensions import csrf, db, limiter
from app.jobs import enqueue, monitoring
from app.jobs.lost_runs import close_lost_runs
from app.providers import SYNCABLE, provider_title
from app.store import credentials, plans, runs
from app.store.accounts import users
from app.store.accounts.tokens import Scope
from app.store.audit import Actor
from app.store.plans import Plan
from app.store.queries import runs as run_queries
from app.store.queries import stats
from app.store.queries.results import ProviderResult, list_errors
from app.store.queries.runs import RunView

blueprint = Blueprint("model_sync", __name__, url_prefix="/admin/model-sync")
csrf.exempt(blueprint)  # bearer requests have no token; for sessions `auth.authenticate` checks it

MAX_WAIT_S = 20.0
"""Maximum time a request waits for the run or plan it started, seconds."""
_POLL_INTERVAL_S = 1.0
_reads = limiter.shared_limit(READS, scope="api read", key_func=admin_rate_limit_key)
_writes = limiter.shared_limit(WRITES, scope="api sync", key_func=admin_rate_limit_key)

RunOrPlan = TypeVar("RunOrPlan", RunView, Plan)


# ------------------------------------------------------------------ reading


@blueprint.get("/providers")
@describe_admin({200: SyncableProviders})
@_reads
def providers() -> Response:
    """Providers that can be synced."""
    authenticate_admin("read")
    return _json_response({"providers": list(SYNCABLE), "count": len(SYNCABLE)})


@blueprint.get("/status")
@describe_admin({200: CatalogState})
@_reads
def status() -> Response:
    """How the shared catalog does."""
    authenticate_admin("read")
    provider_stats, model_stats = stats.provider_stats(clock.utc_now()), stats.model_stats()
    slugs = {provider.slug for provider in provider_stats.providers}
    fetchable = len(slugs.intersection(SYNCABLE))
    body = {
        "providers": {
            "in_database": provider_stats.total,
            "with_fetch_functions": len(SYNCABLE),
            "fetchable_in_db": fetchable,
            "fetchable_not_in_db": len(SYNCABLE) - fetchable,
            "stats": {
                "total": provider_stats.total,
                "active": provider_stats.active,
                "healthy": provider_stats.healthy,
            },
        },
        "models": {
            "stats": {
                "total": model_stats.total,
                "active": model_stats.active,
                "by_modality": dict(model_stats.by_modality),
            }
        },
        "last_sync": _last_sync(),
        "interval_hours": config.current().sync_interval_hours,
    }
    return _json_response(body)


@blueprint.get("/runs/<int:run_id>")
@describe_admin({200: ServerSync, 202: ServerSync}, query=WatchQuery)
@_reads
def run(run_id: int) -> Response:
    """A sync that was started here: 202 while it is under way, then the same answer as from the start."""
    authenticate_admin("read")
    query = read_query(WatchQuery)
    close_lost_runs()
    server = users.server_account(clock.utc_now(), create=False)
    run_view = run_queries.load_run(run_id, server.id) if server else None
    if run_view is None or query.provider not in ("", *(result.provider for result in run_view.results)):
        raise ApiError(HTTPStatus.NOT_FOUND, "There is no such sync with the server's own keys.")
    return _run_response(run_view, [query.provider] if query.provider else [], query.provider, None)


@blueprint.get("/plans/<int:plan_id>")
@describe_admin({200: ServerSync, 202: ServerSync}, query=WatchQuery)
@_reads
def plan(plan_id: int) -> Response:
    """A plan that a dry run makes: 202 until it is made."""
    authenticate_admin("read")
    query = read_query(WatchQuery)
    plan_view = plans.get(plan_id)
    if plan_view is None or query.provider not in ("", *plan_view.providers):
        raise ApiError(HTTPStatus.NOT_FOUND, f"There is no plan {plan_id}.")
    return _plan_response(plan_view, query.provider, None)


# ------------------------------------------------------------------ starting


@blueprint.post("/provider/<provider_slug>")
@describe_admin({200: ServerSync, 202: ServerSync}, scope="sync", query=SyncQuery, also=(409,))
@_writes
def sync_one(provider_slug: str) -> Response:
    """Sync one provider with the server's own key.

    Answered when it is over, but after twenty seconds at the latest, then with 202.
    """
    actor = _actor("sync")
    query = read_query(SyncQuery)
    _check_providers([provider_slug])
    return _start_sync([provider_slug], provider_slug, query, actor)


@blueprint.post("/all")
@describe_admin({200: ServerSync, 202: ServerSync}, scope="sync", query=SyncAllQuery, also=(409,))
@_writes
def sync_all() -> Response:
    """Sync all providers, or those that are named, with the server's own keys.

    Answered as the sync of one.
    """
    actor = _actor("sync")
    query = read_query(SyncAllQuery)
    _check_providers(query.providers)
    return _start_sync(list(dict.fromkeys(query.providers)), "", query, actor)


@blueprint.post("/plans/<int:plan_id>/apply")
@describe_admin({200: ServerSync, 202: ServerSync}, scope="sync", query=WaitQuery, also=(409,))
@_writes
def apply(plan_id: int) -> Response:
    """Write exactly what a plan shows, without asking anybody again."""
    actor = _actor("sync")
    query = read_query(WaitQuery)
    try:
        started = enqueue.start_apply(plan_id, actor, "api")
    except LookupError as error:
        raise ApiError(HTTPStatus.NOT_FOUND, str(error.args[0])) from None
    except enqueue.PlanConflict as error:
        if error.live_run_id is None:
            raise ApiError(HTTPStatus.CONFLICT, str(error)) from None
        raise _conflict(error.live_run_id) from None
    return _await_run_response(started, [], "", _deadline(query.wait))


def _start_sync(slugs: Sequence[str], single: str, query: SyncQuery, actor: Actor) -> Response:
    """single: slug to report on alone; empty for the report on many."""
    deadline = _deadline(query.wait)
    if query.dry_run:
        plan_id, notice = enqueue.start_plan(actor, slugs)
        wait_until = 0.0 if notice else deadline
        return _plan_response(_require(_await_plan(plan_id, wait_until)), single, notice)
    return _await_run_response(_start_run(slugs, actor, deadline), slugs, single, deadline)


def _start_run(slugs: Sequence[str], actor: Actor, deadline: float) -> enqueue.EnqueuedRun:
    """A new run, or the live one if it covers these providers; waits for any other live run to end first.

    Raises ApiError (409) if that one does not finish in time.
    """
    required = set(slugs or _enabled_slugs())
    while True:
        started = enqueue.start_server_sync("api", slugs, actor)
        if started.is_new:
            return started
        live_run = run_queries.load_run(started.run_id)
        if live_run and required <= {result.provider for result in live_run.results}:
            return started
        if started.queue_problem or time.monotonic() >= deadline:
            raise _conflict(started.run_id)
        _await_run(started.run_id, deadline)


def _await_run_response(started: enqueue.EnqueuedRun, slugs: Sequence[str], single: str, deadline: float) -> Response:
    wait_until = 0.0 if started.queue_problem else deadline  # no worker will finish it
    return _run_response(_require(_await_run(started.run_id, wait_until)), slugs, single, started.queue_problem)


def _await_run(run_id: int, deadline: float) -> RunView | None:
    return _await_end(
        lambda: run_queries.load_run(run_id), monitoring.watch_run(run_id, idle_s=_POLL_INTERVAL_S), deadline
    )


def _await_plan(plan_id: int, deadline: float) -> Plan | None:
    return _await_end(lambda: plans.get(plan_id), monitoring.watch_plan(plan_id, idle_s=_POLL_INTERVAL_S), deadline)


def _await_end(load: Callable[[], RunOrPlan | None], updates: Iterator[object], deadline: float) -> RunOrPlan | None:
    """The final state, or the state at the deadline. Holds no database connection while waiting."""
    state = load()
    if state is None or _is_finished(state) or time.monotonic() >= deadline:
        return state
    db.session.remove()
    with contextlib.closing(updates):  # type: ignore[type-var]  # a generator
        for _ in updates:
            state = load()
            db.session.remove()
            if state is None or _is_finished(state) or time.monotonic() >= deadline:
                break
    return state


def _is_finished(state: RunView | Plan) -> bool:
    return not state.is_live if isinstance(state, RunView) else state.made_at is not None


def _require(state: RunOrPlan | None) -> RunOrPlan:
    if state is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "It was deleted while it was under way.")
    return state


# ------------------------------------------------------------------ responses


def _run_response(run: RunView, slugs: Collection[str], single: str, notice: str | None) -> Response:
    """The report on a run; only on these providers if any are given."""
    results: list[ProviderResult] = [result for result in run.results if not slugs or result.provider in slugs]
    status_url = url_for(".run", run_id=run.id, provider=single or None)
    about = {"run_id": run.id, "status_url": status_url}
    if run.is_live:
        return _json_response(build_pending_report(single, {**about, "state": run.state, "notice": notice}), status_url)
    return _json_response(build_report(results, single, _provider_ids(), about, is_whole=run.state == "done"))


def _plan_response(plan: Plan, single: str, notice: str | None) -> Response:
    about: Report = {
        "plan_id": plan.id,
        "plan_url": url_for("admin_sync.plan", plan_id=plan.id),
        "status_url": url_for(".plan", plan_id=plan.id, provider=single or None),
        "state": plan.state(clock.utc_now()),
    }
    if plan.made_at is None:
        return _json_response(
            build_pending_report(single, {**about, "notice": notice}, dry_run=True), about["status_url"]
        )
    about |= {"apply_url": url_for(".apply", plan_id=plan.id), "objection": enqueue.plan_objection(plan)}
    if plan.error_message:
        return _json_response({"success": False, "message": f"Dry run: {plan.error_message}", "details": about})
    return _json_response(build_plan_report(plan.parts, single, _provider_ids(), about))


def _json_response(body: Report, location: str = "") -> Response:
    """Keeps the field order of the specification. location: status URL while pending; makes the response a 202."""
    headers = {"Location": location} if location else {}
    return Response(msgspec.json.encode(body), 202 if location else 200, headers, mimetype=JSON)


def _last_sync() -> Report | None:
    server = users.server_account(clock.utc_now(), create=False)
    last = runs.last_finished(server.id) if server else None
    run = run_queries.load_run(last.id) if last else None
    if run is None:
        return None
    results: list[ProviderResult] = [*run.results]
    return {
        "run_id": run.id,
        "synced_at": clock.isoformat(run.ended_at),
        "providers_processed": len(results),
        "errors": list_errors(results),
        "status_url": url_for(".run", run_id=run.id),
    }


# ------------------------------------------------------------------ requests


def _actor(scope: Scope) -> Actor:
    """The caller, for the audit log."""
    caller = authenticate_admin(scope)
    return Actor(caller.user.id, caller.user.email) if caller else Actor(None, "ADMIN_API_KEY")


def _check_providers(slugs: Collection[str]) -> None:
    """Raises ApiError: 404 for an unknown provider, 409 for a disabled one."""
    for slug in slugs:
        if slug not in SYNCABLE:
            raise ApiError(
                HTTPStatus.NOT_FOUND,
                f"There is no such provider here. GET {url_for('.providers')} names those that can be synced.",
            )
    if disabled := sorted(set(slugs) - _enabled_slugs()):
        titles = ", ".join(provider_title(slug) for slug in disabled)
        raise ApiError(HTTPStatus.CONFLICT, f"Disabled by an admin: {titles}. Enable it first, or leave it out.")
    if not slugs and not _enabled_slugs():
        raise ApiError(HTTPStatus.CONFLICT, "All providers are disabled. Enable one first.")


def _enabled_slugs() -> set[str]:
    return {slug for slug, row in credentials.providers_by_slug().items() if row.is_active} & set(SYNCABLE)


def _conflict(run_id: int) -> ApiError:
    return ApiError(
        HTTPStatus.CONFLICT,
        f"Sync {run_id} with the server's own keys is under way, at other providers. Try again when it is over.",
        headers={"Location": url_for(".run", run_id=run_id)},
    )


def _provider_ids() -> dict[str, int]:
    return {slug: row.id for slug, row in credentials.providers_by_slug().items()}


def _deadline(waits: bool) -> float:
    return time.monotonic() + MAX_WAIT_S if waits else 0.0

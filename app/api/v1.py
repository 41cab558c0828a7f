"""`/api/v1`: what the pages show, for programs, as the person whose token or session it is."""

from __future__ import annotations

from decimal import Decimal
from http import HTTPStatus

from flask import Blueprint, url_for

from app import jobs
from app.api.auth import Caller
from app.api.operations import Reply, operation, wrong
from app.api.paging import cursor_of, cut, not_a_cursor, where_of
from app.api.problems import Refused
from app.api.v1_schemas import (
    ChangeQuery,
    DifferencePage,
    GonePage,
    GoneQuery,
    Key,
    KeyPage,
    KeyQuery,
    ModelPage,
    ModelQuery,
    PageQuery,
    Provider,
    ProviderPage,
    ProviderQuery,
    ResultPage,
    Run,
    RunOrder,
    RunPage,
    StartedRun,
    difference_of,
    gone_of,
    key_of,
    model_of,
    result_of,
    run_of,
)
from app.extensions import csrf, db
from app.store import credentials
from app.store.credentials import CredentialWithSlug
from app.store.queries import change_feed, model_search
from app.store.queries import runs as run_queries
from app.store.queries.model_search import ModelFilter
from app.web.app import filters
from app.web.models.search import parse_token_count
from app.web.sync import close_lost

blueprint = Blueprint("api_v1", __name__, url_prefix="/api/v1")
csrf.exempt(blueprint)  # a token's request has none; a session's is checked in `doors.admit`

_NO_KEYS = "There is no active API key to sync. Add one on the profile page, or enable one."


@blueprint.get("/providers")
@operation(ProviderPage, tag="Keys", query=ProviderQuery, paged=True)
def providers(caller: Caller, query: ProviderQuery) -> Reply:
    """Providers.

    Those you have a key for, by slug.
    """
    lines = run_queries.list_keys(caller.user.id, filters.now())
    mine = {line.provider for line in lines}
    found = [
        Provider(
            slug=slug,
            title=provider.title,
            description=provider.description,
            site=provider.site,
            keys=sum(line.provider == slug for line in lines),
            active_keys=sum(line.provider == slug and line.is_active for line in lines),
            listed_at=max((line.listed_at for line in lines if line.provider == slug and line.listed_at), default=None),
        )
        for slug, provider in filters.providers().items()
        if query.all or slug in mine
    ]
    page, following = cut(found, "providers", lambda one: (one.slug,), query.after, query.limit, str)
    return Reply(ProviderPage(page, following), following=following)


@blueprint.get("/keys")
@operation(KeyPage, tag="Keys", query=KeyQuery, paged=True)
def keys(caller: Caller, query: KeyQuery) -> Reply:
    """API keys.

    What is known of your keys, by their number; never the keys themselves.
    """
    lines = [
        line for line in run_queries.list_keys(caller.user.id, filters.now()) if query.provider in ("", line.provider)
    ]
    page, following = cut(lines, "keys", lambda line: (line.id,), query.after, query.limit, int)
    return Reply(KeyPage([key_of(line) for line in page], following), following=following)


@blueprint.get("/keys/<int:key_id>")
@operation(Key, tag="Keys", also=(404,))
def key(caller: Caller, key_id: int) -> Key:
    """One API key."""
    return _key(caller, key_id)


@blueprint.post("/keys/<int:key_id>/accept")
@operation(StartedRun, tag="Keys", scope="sync", status=202, also=(404, 409))
def accept(caller: Caller, key_id: int) -> Reply:
    """Accept the answer kept aside.

    The provider is asked again, and its answer is taken if it is still the same.
    """
    row, _ = _own(caller, key_id)
    if not credentials.accept_quarantined(row):
        raise Refused(HTTPStatus.CONFLICT, "No answer is kept aside for this key, so there is nothing to accept.")
    db.session.commit()
    return _begin(caller, credential_id=key_id)


@blueprint.post("/keys/<int:key_id>/keep")
@operation(Key, tag="Keys", scope="sync", also=(404, 409))
def keep(caller: Caller, key_id: int) -> Key:
    """Keep the list and drop the answer kept aside."""
    row, _ = _own(caller, key_id)
    if not credentials.reject_quarantined(row):
        raise Refused(HTTPStatus.CONFLICT, "No answer is kept aside for this key: your list is in force as it is.")
    db.session.commit()
    return _key(caller, key_id)


@blueprint.get("/models")
@operation(ModelPage, tag="Models", query=ModelQuery, paged=True)
def models(caller: Caller, query: ModelQuery) -> Reply:
    """Models that your keys can use.

    The filters and their names are those of the page of models.
    """
    if query.after and not model_search.is_cursor(query.after, query.sort):
        raise not_a_cursor()
    page = model_search.search(caller.user.id, _wanted(query), filters.now(), query.after or None, query.limit)
    body = ModelPage([model_of(line) for line in page.lines], page.following, page.total)
    return Reply(body, following=page.following)


@blueprint.get("/models/gone")
@operation(GonePage, tag="Models", query=GoneQuery, paged=True)
def gone(caller: Caller, query: GoneQuery) -> Reply:
    """Chat models that your keys listed once and lost.

    The latest two hundred, by provider and id.
    """
    lines = model_search.unlisted(caller.user.id, query.provider)
    page, following = cut(
        lines,
        "gone",
        lambda line: (line.provider, line.provider_model_id, line.label),
        query.after,
        query.limit,
        str,
        str,
        str,
    )
    return Reply(GonePage([gone_of(line) for line in page], following), following=following)


@blueprint.get("/changes")
@operation(DifferencePage, tag="Changes and runs", query=ChangeQuery, paged=True)
def changes(caller: Caller, query: ChangeQuery) -> Reply:
    """What changed for your keys, the latest sync first.

    Reading them here does not clear the badge of the pages.
    """
    where = where_of(query.after, "changes", int, int)
    lines = change_feed.list_changes(
        caller.user.id,
        kind=query.kind,
        provider=query.provider,
        after=(where[0], where[1]) if where else None,
        size=query.limit + 1,
    )
    page = lines[: query.limit]
    following = cursor_of("changes", page[-1].result_id, page[-1].change_id) if len(lines) > query.limit else None
    return Reply(DifferencePage([difference_of(line) for line in page], following), following=following)


@blueprint.get("/runs")
@operation(RunPage, tag="Changes and runs", query=PageQuery, paged=True)
def runs(caller: Caller, query: PageQuery) -> Reply:
    """Your syncs, the latest first."""
    close_lost()
    where = where_of(query.after, "runs", int)
    lines, before = run_queries.list_runs(caller.user.id, where[0] if where else None, query.limit)
    following = None if before is None else cursor_of("runs", before)
    return Reply(RunPage([run_of(line) for line in lines], following), following=following)


@blueprint.post("/runs")
@operation(StartedRun, tag="Changes and runs", scope="sync", body=RunOrder, status=202, also=(404, 409))
def start(caller: Caller, body: RunOrder) -> Reply:
    """Start a sync.

    A sync that is under way already is named instead of a second one.
    """
    if body.provider and body.provider not in filters.providers():
        raise wrong("provider", "There is no such provider.")
    if body.key_id is not None:
        _own(caller, body.key_id)
    return _begin(caller, provider=body.provider or None, credential_id=body.key_id)


@blueprint.get("/runs/<int:run_id>")
@operation(Run, tag="Changes and runs", also=(404,))
def run(caller: Caller, run_id: int) -> Run:
    """One sync."""
    return run_of(_run(caller, run_id))


@blueprint.get("/runs/<int:run_id>/results")
@operation(ResultPage, tag="Changes and runs", query=PageQuery, also=(404,), paged=True)
def results(caller: Caller, query: PageQuery, run_id: int) -> Reply:
    """What came of a sync, key by key."""
    found = _run(caller, run_id)
    page, following = cut(found.results, "results", lambda line: (line.id,), query.after, query.limit, int)
    return Reply(ResultPage([result_of(line) for line in page], following), following=following)


def _wanted(query: ModelQuery) -> ModelFilter:
    kind = "" if query.all else query.kind or "chat"
    price = query.max_price.removeprefix("$")
    return ModelFilter(
        search=query.q.strip(),
        provider=query.provider,
        capabilities=frozenset(query.capability),
        kind=kind,
        most_input_price=Decimal(price) if price else None,
        least_context=parse_token_count(query.min_context),
        only_new=query.new == "yes",
        sort=query.sort,
    )


def _own(caller: Caller, key_id: int) -> CredentialWithSlug:
    found = credentials.find_own(caller.user.id, key_id)
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, f"You have no API key number {key_id}: see /api/v1/keys.")
    return found


def _key(caller: Caller, key_id: int) -> Key:
    _own(caller, key_id)
    (line,) = run_queries.list_keys(caller.user.id, filters.now(), key_id)
    return key_of(line)


def _run(caller: Caller, run_id: int) -> run_queries.RunView:
    close_lost()
    found = run_queries.load_run(run_id, caller.user.id)
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, f"You have no sync number {run_id}: see /api/v1/runs.")
    return found


def _begin(caller: Caller, *, provider: str | None = None, credential_id: int | None = None) -> Reply:
    begun = jobs.start_sync(caller.user.id, "api", provider=provider, credential_id=credential_id)
    if begun is None:
        raise Refused(HTTPStatus.CONFLICT, _NO_KEYS)
    body = StartedRun(begun.run_id, begun.is_new, begun.trouble)
    return Reply(body, 202, {"Location": url_for("api_v1.run", run_id=begun.run_id)})

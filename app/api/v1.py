"""`/api/v1`: the data of the pages as JSON, for the user of the token or session."""

from __future__ import annotations

from decimal import Decimal
from http import HTTPStatus

from flask import Blueprint, url_for

from app import clock
from app.api.auth import Caller
from app.api.operations import Reply, invalid_field, operation
from app.api.paging import decode_cursor, encode_cursor, invalid_cursor, paginate
from app.api.problems import ApiError
from app.api.v1_schemas import (
    ChangeQuery,
    DifferencePage,
    GonePage,
    GoneQuery,
    Key,
    KeyAddress,
    KeyPage,
    KeyQuery,
    ModelPage,
    ModelQuery,
    PageQuery,
    ProviderPage,
    ProviderQuery,
    ProviderSummary,
    ResultPage,
    Run,
    RunOrder,
    RunPage,
    RunReceipt,
    to_difference,
    to_gone_model,
    to_key,
    to_model,
    to_result,
    to_run,
)
from app.catalog import humanize
from app.extensions import csrf, db
from app.jobs import enqueue
from app.jobs.lost_runs import close_lost_runs
from app.providers import PROVIDERS, addresses
from app.store import credentials
from app.store.credentials import CredentialWithSlug
from app.store.queries import changes as change_queries
from app.store.queries import keys as key_queries
from app.store.queries import model_cursor, model_search
from app.store.queries import runs as run_queries
from app.store.queries.model_query import ModelFilter

blueprint = Blueprint("api_v1", __name__, url_prefix="/api/v1")
csrf.exempt(blueprint)  # token requests have none; for sessions `auth.authenticate` checks it

_NO_KEYS = "There is no active API key to sync. Add one on the profile page, or enable one."


@blueprint.get("/providers")
@operation(ProviderPage, tag="Keys", query=ProviderQuery, paged=True)
def providers(caller: Caller, query: ProviderQuery) -> Reply:
    """Providers.

    Those you have a key for, by slug.
    """
    keys = key_queries.list_keys(caller.user.id)
    own_slugs = {key.provider for key in keys}
    summaries = [
        ProviderSummary(
            slug=slug,
            title=provider.title,
            description=provider.description,
            site=provider.site,
            keys=sum(key.provider == slug for key in keys),
            active_keys=sum(key.provider == slug and key.is_active for key in keys),
            listed_at=max((key.listed_at for key in keys if key.provider == slug and key.listed_at), default=None),
        )
        for slug, provider in PROVIDERS.items()
        if query.all or slug in own_slugs
    ]
    page, following = paginate(summaries, "providers", lambda summary: (summary.slug,), query.after, query.limit, str)
    return Reply(ProviderPage(page, following), following=following)


@blueprint.get("/keys")
@operation(KeyPage, tag="Keys", query=KeyQuery, paged=True)
def keys(caller: Caller, query: KeyQuery) -> Reply:
    """API keys.

    What is known of your keys, by their number; never the keys themselves.
    """
    keys = [key for key in key_queries.list_keys(caller.user.id) if query.provider in ("", key.provider)]
    page, following = paginate(keys, "keys", lambda key: (key.id,), query.after, query.limit, int)
    return Reply(KeyPage([to_key(key) for key in page], following), following=following)


@blueprint.get("/keys/<int:key_id>")
@operation(Key, tag="Keys", also=(404,))
def key(caller: Caller, key_id: int) -> Key:
    """One API key."""
    return _load_key(caller, key_id)


@blueprint.patch("/keys/<int:key_id>")
@operation(Key, tag="Keys", scope="sync", body=KeyAddress, also=(404, 409))
def change_address(caller: Caller, key_id: int, body: KeyAddress) -> Key:
    """Change a key's address.

    The address of your own server, on the same host. A stored key is only sent to the host that it was given for: for
    another one, enter it again on the profile page. A sync at the new address starts at once.
    """
    row, slug = _load_own_key(caller, key_id)
    try:
        address = addresses.resolve_address(PROVIDERS[slug], url=body.base_url)
    except addresses.InvalidBaseURL as error:
        raise invalid_field("base_url", str(error)) from None
    if address.login:
        raise invalid_field("base_url", "Leave user name and password out of the address.")
    if row.sealed_key is not None and not addresses.keeps_key(row.base_url, address.base_url or ""):
        sentence = (
            "That is another host, and a key is only sent where it was given: enter it again on the profile page."
        )
        raise ApiError(HTTPStatus.CONFLICT, sentence)
    credentials.change_address(row, address.base_url, clock.utc_now())
    db.session.commit()
    enqueue.start_first_sync(caller.user.id)
    return _load_key(caller, key_id)


@blueprint.post("/keys/<int:key_id>/accept")
@operation(RunReceipt, tag="Keys", scope="sync", status=202, also=(404, 409))
def accept(caller: Caller, key_id: int) -> Reply:
    """Accept the answer kept aside.

    The provider is asked again, and its answer is taken if it is still the same.
    """
    row, _ = _load_own_key(caller, key_id)
    if not credentials.accept_quarantined(row):
        raise ApiError(HTTPStatus.CONFLICT, "No answer is kept aside for this key, so there is nothing to accept.")
    db.session.commit()
    return _start_run(caller, credential_id=key_id)


@blueprint.post("/keys/<int:key_id>/keep")
@operation(Key, tag="Keys", scope="sync", also=(404, 409))
def keep(caller: Caller, key_id: int) -> Key:
    """Keep the list and drop the answer kept aside."""
    row, _ = _load_own_key(caller, key_id)
    if not credentials.reject_quarantined(row):
        raise ApiError(HTTPStatus.CONFLICT, "No answer is kept aside for this key: your list is in force as it is.")
    db.session.commit()
    return _load_key(caller, key_id)


@blueprint.get("/models")
@operation(ModelPage, tag="Models", query=ModelQuery, paged=True)
def models(caller: Caller, query: ModelQuery) -> Reply:
    """Models that your keys can use.

    The filters and their names are those of the page of models.
    """
    if query.after and not model_cursor.is_cursor(query.after, query.sort):
        raise invalid_cursor()
    page = model_search.search(caller.user.id, _model_filter(query), clock.utc_now(), query.after or None, query.limit)
    body = ModelPage([to_model(model) for model in page.lines], page.following, page.total)
    return Reply(body, following=page.following)


@blueprint.get("/models/gone")
@operation(GonePage, tag="Models", query=GoneQuery, paged=True)
def gone(caller: Caller, query: GoneQuery) -> Reply:
    """Chat models that your keys listed once and lost.

    The latest two hundred, by provider and id.
    """
    models = model_search.unlisted(caller.user.id, query.provider)
    page, following = paginate(
        models,
        "gone",
        lambda model: (model.provider, model.provider_model_id, model.label),
        query.after,
        query.limit,
        str,
        str,
        str,
    )
    return Reply(GonePage([to_gone_model(model) for model in page], following), following=following)


@blueprint.get("/changes")
@operation(DifferencePage, tag="Changes and runs", query=ChangeQuery, paged=True)
def changes(caller: Caller, query: ChangeQuery) -> Reply:
    """What changed for your keys, the latest sync first.

    Reading them here does not clear the badge of the pages.
    """
    position = decode_cursor(query.after, "changes", int, int)
    changes = change_queries.list_changes(
        caller.user.id,
        kind=query.kind,
        provider=query.provider,
        after=(position[0], position[1]) if position else None,
        size=query.limit + 1,
    )
    page = changes[: query.limit]
    following = encode_cursor("changes", page[-1].result_id, page[-1].change_id) if len(changes) > query.limit else None
    return Reply(DifferencePage([to_difference(change) for change in page], following), following=following)


@blueprint.get("/runs")
@operation(RunPage, tag="Changes and runs", query=PageQuery, paged=True)
def runs(caller: Caller, query: PageQuery) -> Reply:
    """Your syncs, the latest first."""
    close_lost_runs()
    position = decode_cursor(query.after, "runs", int)
    views, next_id = run_queries.list_runs(caller.user.id, position[0] if position else None, query.limit)
    following = None if next_id is None else encode_cursor("runs", next_id)
    return Reply(RunPage([to_run(run) for run in views], following), following=following)


@blueprint.post("/runs")
@operation(RunReceipt, tag="Changes and runs", scope="sync", body=RunOrder, status=202, also=(404, 409))
def start(caller: Caller, body: RunOrder) -> Reply:
    """Start a sync.

    A sync that is under way already is named instead of a second one.
    """
    if body.provider and body.provider not in PROVIDERS:
        raise invalid_field("provider", "There is no such provider.")
    if body.key_id is not None:
        _load_own_key(caller, body.key_id)
    return _start_run(caller, provider=body.provider or None, credential_id=body.key_id)


@blueprint.get("/runs/<int:run_id>")
@operation(Run, tag="Changes and runs", also=(404,))
def run(caller: Caller, run_id: int) -> Run:
    """One sync."""
    return to_run(_load_run(caller, run_id))


@blueprint.get("/runs/<int:run_id>/results")
@operation(ResultPage, tag="Changes and runs", query=PageQuery, also=(404,), paged=True)
def results(caller: Caller, query: PageQuery, run_id: int) -> Reply:
    """What came of a sync, key by key."""
    run = _load_run(caller, run_id)
    page, following = paginate(run.results, "results", lambda result: (result.id,), query.after, query.limit, int)
    return Reply(ResultPage([to_result(result) for result in page], following), following=following)


def _model_filter(query: ModelQuery) -> ModelFilter:
    kind = "" if query.all else query.kind or "chat"
    price = query.max_price.removeprefix("$")
    return ModelFilter(
        search=query.q.strip(),
        provider=query.provider,
        capabilities=frozenset(query.capability),
        kind=kind,
        most_input_price=Decimal(price) if price else None,
        least_context=humanize.parse_token_count(query.min_context),
        only_new=query.new == "yes",
        sort=query.sort,
    )


def _load_own_key(caller: Caller, key_id: int) -> CredentialWithSlug:
    key = credentials.find_own(caller.user.id, key_id)
    if key is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"You have no API key number {key_id}: see /api/v1/keys.")
    return key


def _load_key(caller: Caller, key_id: int) -> Key:
    _load_own_key(caller, key_id)
    (key,) = key_queries.list_keys(caller.user.id, key_id)
    return to_key(key)


def _load_run(caller: Caller, run_id: int) -> run_queries.RunView:
    close_lost_runs()
    run = run_queries.load_run(run_id, caller.user.id)
    if run is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"You have no sync number {run_id}: see /api/v1/runs.")
    return run


def _start_run(caller: Caller, *, provider: str | None = None, credential_id: int | None = None) -> Reply:
    started = enqueue.start_sync(caller.user.id, "api", provider=provider, credential_id=credential_id)
    if started is None:
        raise ApiError(HTTPStatus.CONFLICT, _NO_KEYS)
    body = RunReceipt(started.run_id, started.is_new, started.queue_problem)
    return Reply(body, 202, {"Location": url_for("api_v1.run", run_id=started.run_id)})

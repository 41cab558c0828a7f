"""Every fault of a provider in every phase of a sync, on both databases: what is reported, and that nothing is lost.

The plain run leaves out what another combination of the same kind shows as well, the more so on PostgreSQL.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from sqlalchemy import func, select, text

from app import create_app
from app.demo.faults import FAULTS
from app.demo.simulator import Simulator
from app.extensions import db
from app.providers import PROVIDERS
from app.store import credentials, runs
from app.store.accounts import users
from app.store.queries import runs as run_queries
from app.store.queries.runs import ResultView, RunView
from app.store.schema.tables import ChangeRow, CredentialRow, ListingRow, ModelRow, ResultRow, RunRow
from app.sync import run as sync
from app.sync.http.client import new_client
from app.sync.http.retry import RetryPolicy
from app.sync.limits.store import LocalLimiterStore, Quota
from app.sync.run import SyncContext
from app.vault import ApiKey, Keyring, PublicKey, generate_private_key
from tests import conftest
from tests.conftest import Clock
from tests.test_leaks import Told, read_database

_PRIVATE = generate_private_key()
MARK = "mAtRiXmArK"
FEW_S = 0.4
"""Timeout: enough for any response, and short for a provider that never answers."""
BATCH = 20


@dataclass(frozen=True)
class Fate:
    """What a fault comes to. A list that was read is "complete" or, as it was before, "unchanged"."""

    outcome: str = "complete"
    code: str | None = None
    sentence: str | None = None
    asked: int = 1
    """By how many requests, where two tries are made."""
    seconds: float | None = None
    total_timeout_s: float = 10.0
    skipped: int | None = 0
    """Entries that could not be read; None: however many."""


def _failed(code: str, sentence: str, **more: Any) -> Fate:
    return Fate("failed", code, sentence, **more)


_REJECTED = "{title} rejected this key (401)."
_NULL = "{title} sent null instead of a list of models."
_TEXT = "{title} sent “data”, but it is a text instead of a list of models."
_TOO_LARGE = "The list of {title} is larger than 32 MB."
_MISSING = "{missing} of {total} models are missing from this answer, so it was kept aside."
_UNREADABLE = "None of the 7 entries of this answer could be read, so it was kept aside."
_ONE_UNREADABLE = "1 entry could not be read."
FATES: dict[str, Fate] = {
    "slow": Fate(seconds=0.05),
    "drip": _failed("timed_out", "{title} did not answer in time.", seconds=0.05, total_timeout_s=FEW_S),
    "hang": _failed("timed_out", "{title} did not answer in time.", total_timeout_s=FEW_S),
    "html": _failed("unreadable_answer", "{title} answered with a web page instead of a list of models."),
    "truncated": _failed("unreadable_answer", "{title} sent an answer that is not valid JSON."),
    "null": _failed("unreadable_answer", _NULL),
    "wrong_types": _failed("unreadable_answer", _TEXT),
    "wrong_entries": Fate("suspect", "unreadable_list", _UNREADABLE, skipped=7),
    "one_bad_model": Fate("partial", None, _ONE_UNREADABLE, skipped=1),
    "duplicates": Fate(skipped=3),
    "huge": _failed("answer_too_large", _TOO_LARGE),
    "gzip": Fate(),
    "gzip_bomb": _failed("answer_too_large", _TOO_LARGE),
    "conditional": Fate(),
    "endless_pages": Fate(),
    "repeated_cursor": Fate(),
    "redirect_elsewhere": _failed(
        "redirected", "The address of {title} redirects to another host, where we did not send the key."
    ),
    "redirect_home": Fate(asked=2),
    "reset": _failed("unreachable", "Could not reach {title}.", asked=2),
    "unauthorized": _failed("key_rejected", _REJECTED),
    "echo_key": _failed("key_rejected", _REJECTED),
    "revoked": _failed("key_revoked", "{title} says this key was revoked, disabled or has expired (401)."),
    "forbidden": _failed("no_access", "{title} says this key lacks the permission to list models (403)."),
    "quota": _failed("quota_exhausted", "You're out of credit or quota at {title} (429)."),
    "rate_limited": _failed("rate_limited", "{title} asks to wait until 12:01 UTC (429).", seconds=90),
    "rate_limited_until": _failed("rate_limited", "{title} asks to wait until 12:01 UTC (429).", seconds=90),
    "error_500": _failed("unavailable", "{title} is having problems (500).", asked=2),
    "unavailable_503": _failed("unavailable", "{title} is overloaded (503).", asked=2),
    "maintenance": _failed("maintenance", "{title} is down for maintenance (503).", asked=2),
    "empty": Fate(
        "suspect",
        "empty_list",
        "The provider answered with an empty list, so it was kept aside; yours has {total} models.",
    ),
    "shrunk": Fate("suspect", "suspect_list", _MISSING),
}


# What else a fault comes to where there is no list yet, and where it befalls the second page only.
_EMPTY = Fate("suspect", "empty_list", "The provider answered with an empty list.")
AT_FIRST = {"empty": _EMPTY, "shrunk": Fate()}
PAGE_SIZE = 5
_TOO_LONG = "Not every page of the list could be read: it has more than 100 pages."
_SAME_AGAIN = (
    "Not every page of the list could be read: the provider announced a further page, but sent the same one again."
)
ON_PAGE_TWO = {
    "slow": replace(FATES["slow"], asked=5),
    "redirect_home": Fate(asked=10),
    # These answer with the whole list, of which the first page is known.
    "gzip": Fate(skipped=PAGE_SIZE),
    "conditional": Fate(skipped=PAGE_SIZE),
    "one_bad_model": replace(FATES["one_bad_model"], skipped=PAGE_SIZE + 1),
    "duplicates": Fate(skipped=PAGE_SIZE + 3),
    "endless_pages": Fate("partial", None, _TOO_LONG, asked=99, skipped=None),
    "repeated_cursor": Fate("partial", None, _SAME_AGAIN, asked=2, skipped=None),
    # Anthropic's own words for these.
    "quota": _failed("quota_exhausted", "You're out of credit or quota at {title} (400)."),
    "unavailable_503": _failed("unavailable", "{title} is overloaded (529).", asked=2),
    # Its list has no such second page.
    "empty": _failed("refused", "{title} refused the request (400)."),
}
# One of each kind: what every phase is tried with in the plain run.
KINDS = {"hang", "html", "one_bad_model", "conditional", "reset", "echo_key", "rate_limited", "error_500", "shrunk"}
PHASES = {"first": AT_FIRST, "after": {}, "retry": {}, "new key": AT_FIRST, "page two": ON_PAGE_TWO, "batch": {}}


def _combinations() -> Iterator[Any]:
    for stage, (phase, others), fault in itertools.product(conftest._STAGES, PHASES.items(), FATES):
        is_sqlite = stage.id == "sqlite"
        is_quick = (is_sqlite and (phase == "after" or fault in others)) or (
            fault in KINDS and (is_sqlite or phase == "after") and phase != "retry"
        )
        marks = [*stage.marks, *([] if is_quick else [pytest.mark.full])]
        yield pytest.param(stage.values[0], phase, fault, id=f"{stage.id}-{phase}-{fault}", marks=marks)


# ------------------------------------------------------------------ the stage: one for each database, and people on it


@dataclass
class Stage:
    """An installation that all tests of a process share: each uses its own user."""

    app: Flask
    simulator: Simulator
    vault: Keyring
    client: httpx.Client
    crowd: list[int] = field(default_factory=list)
    """Users whose keys have their lists, at another provider than the one that fails."""
    good: dict[str, int] = field(default_factory=dict)
    """Provider → the listing that its key gets when nothing is wrong."""


@dataclass
class Person:
    """A user with one key, and all that their sync works with."""

    stage: Stage
    slug: str
    means: SyncContext
    user_id: int
    credential_id: int
    slept: list[float]

    def sync(self) -> ResultView:
        return _only(performed([_start(self.user_id, self.means)], self.means)[0])

    @property
    def credential(self) -> CredentialRow:
        db.session.expire_all()
        return db.session.get_one(CredentialRow, self.credential_id)

    @property
    def rows(self) -> tuple[int, ...]:
        counted = (ListingRow, ModelRow, ChangeRow, ResultRow, RunRow)
        return tuple(db.session.scalar(select(func.count()).select_from(row)) or 0 for row in counted)


def performed(run_ids: list[int], means: SyncContext) -> list[RunView]:
    assert sync.execute_many(run_ids, means) == set(run_ids)
    found = [run_queries.load_run(run_id) for run_id in run_ids]
    assert all(run and run.state == "done" for run in found)
    return [run for run in found if run]


def _start(user_id: int, means: SyncContext) -> int:
    started = runs.start(user_id, "manual", means.now())
    db.session.commit()
    assert started and started.is_new
    return started.run.id


def _only(run: RunView) -> ResultView:
    (result,) = run.results
    return result


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def stages(
    request: pytest.FixtureRequest, running: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Stage]]:
    """The stage of a database, built on first use."""
    made: dict[str, Stage] = {}
    with contextlib.ExitStack() as leaving:

        def stage(database: str) -> Stage:
            if database not in made:
                folder = tmp_path_factory.mktemp(database)
                url = leaving.enter_context(_database(database, folder, request))
                made[database] = leaving.enter_context(_stage(url, folder, running))
            return made[database]

        yield stage


@contextlib.contextmanager
def _database(database: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    if database == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), folder / "modelsync.sqlite")
        yield f"sqlite:///{folder}/modelsync.sqlite"
        return
    name = f"modelsync_test_{uuid.uuid4().hex[:8]}"
    conftest._on_postgres(f'CREATE DATABASE "{name}" TEMPLATE "{request.getfixturevalue("postgres_template")}"')
    yield conftest._postgres_url(name)
    conftest._on_postgres(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextlib.contextmanager
def _stage(url: str, folder: Path, simulator: Simulator) -> Iterator[Stage]:
    simulator.reset()
    app = create_app(conftest._settings(folder, url, "redis://127.0.0.1:1/0"))
    with new_client() as client:
        stage = Stage(app, simulator, Keyring(_PRIVATE), client)
        with app.app_context():
            for slug in ("openai", "anthropic"):
                person = _person(stage, slug)
                assert person.sync().outcome == "complete"
                stage.good[slug] = person.credential.listing_id or 0
            crowd = [_person(stage, "groq") for _ in range(BATCH - 1)]
            performed([_start(person.user_id, person.means) for person in crowd], crowd[0].means)
            stage.crowd = [person.user_id for person in crowd]
            db.session.remove()
        yield stage
        with app.app_context():
            db.engine.dispose()


def _person(stage: Stage, slug: str, fate: Fate = FATES["gzip"]) -> Person:
    clock = Clock()
    slept: list[float] = []
    means = SyncContext(
        stage.vault,
        stage.client,
        stage.simulator.base_urls,
        now=clock,
        total_timeout_s=fate.total_timeout_s,
        quota=Quota(starts_per_s=1_000.0),  # twenty keys of one provider start within the shortest time-out
        retry_policy=RetryPolicy(max_attempts=2, initial_wait_s=0.01, sleep=slept.append),
        limiter_store=LocalLimiterStore(),  # what befell another test's users is not remembered
    )
    user = users.create(f"{uuid.uuid4().hex}@example.com", "no password opens this", clock())
    assert user
    key = ApiKey(f"sk-{MARK}-{uuid.uuid4().hex.replace('bad', 'dab')}-{MARK}")
    row = credentials.add(
        user.id, credentials.providers_by_slug()[slug], "", key, PublicKey(stage.vault.public), clock()
    )
    assert row
    db.session.commit()
    return Person(stage, slug, means, user.id, row.id, slept)


# ------------------------------------------------------------------ the phases


def fail(person: Person, fault: str) -> None:
    person.stage.simulator.set_fault(person.slug, fault, seconds=FATES[fault].seconds)


def in_phase(phase: str, person: Person, fault: str) -> ResultView:
    """Cause the fault in that phase; returns what is reported."""
    if phase not in ("first", "new key"):
        assert person.sync().outcome == "complete"
    person.stage.simulator.clear_requests()
    acts: dict[str, Callable[[Person, str], ResultView]] = {
        "first": _in_a_sync,
        "after": _in_a_sync,
        "retry": _in_the_second_try,
        "new key": _in_a_new_keys_sync,
        "page two": _on_page_two,
        "batch": _in_a_batch,
    }
    return acts[phase](person, fault)


def _in_a_sync(person: Person, fault: str) -> ResultView:
    fail(person, fault)
    return person.sync()


def _in_the_second_try(person: Person, fault: str) -> ResultView:
    """The first try ends with another failure, and before the second one the provider comes to fail in this way."""

    def sleep(seconds: float) -> None:
        person.slept.append(seconds)
        fail(person, fault)

    person.means = replace(person.means, retry_policy=replace(person.means.retry_policy, sleep=sleep))
    fail(person, "unavailable_503")
    return person.sync()


def _in_a_new_keys_sync(person: Person, fault: str) -> ResultView:
    """The sync that saving a key starts, which is not started again whatever comes of it."""
    fail(person, fault)
    person.credential.check_asked_at = person.means.now()
    db.session.commit()
    started = runs.start(person.user_id, runs.NEW_KEY, person.means.now(), only_new_keys=True)
    db.session.commit()
    assert started
    (run,) = performed([started.run.id], person.means)
    assert person.credential.check_asked_at is None
    return _only(run)


def _on_page_two(person: Person, fault: str) -> ResultView:
    """The first page is good; the fault begins once it was sent."""

    def begin(_: httpx.Response) -> None:
        if len(person.stage.simulator.requests()) == 1:
            fail(person, fault)

    with new_client() as client:
        client.event_hooks["response"].append(begin)
        person.stage.simulator.page_size = PAGE_SIZE
        kept, person.means = person.means, replace(person.means, client=client)
        result = person.sync()
        person.means = kept
    return result


def _in_a_batch(person: Person, fault: str) -> ResultView:
    """One worker syncs twenty people at once, and the provider of one of them fails."""
    fail(person, fault)
    run_ids = [
        _start(user_id, person.means) for user_id in (*person.stage.crowd[:9], person.user_id, *person.stage.crowd[9:])
    ]
    found = performed(run_ids, person.means)
    results = [_only(run) for run in found]
    assert [result.outcome for result in (*results[:9], *results[10:])] == ["unchanged"] * (BATCH - 1)
    return results[9]


# ------------------------------------------------------------------ the test


@pytest.mark.parametrize(("database", "phase", "fault"), list(_combinations()))
def test_a_fault_is_told_in_its_sentence_and_nothing_is_lost_doubled_or_leaked(
    stages: Callable[[str], Stage], database: str, phase: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stage = stages(database)
    stage.simulator.reset()
    fate = PHASES[phase].get(fault, FATES[fault])
    slug = "anthropic" if phase == "page two" else "openai"
    with stage.app.app_context():
        person = _person(stage, slug, fate)
        before = person.rows
        told = in_phase(phase, person, fault)
        has_list = phase not in ("first", "new key")
        _is_told(told, fate, person, _left(phase, fault), has_list=has_list)
        _is_asked(fate, phase, person)
        _is_kept(fate, person, has_list=has_list)
        _is_recovered(person, phase)
        _is_not_doubled(person, before, phase)
        _is_nowhere(person, caplog, whole=fault in ("echo_key", "redirect_elsewhere"))
        db.session.remove()


def _left(phase: str, fault: str) -> Callable[[int], int]:
    """Maps the size of a list to that of its shrunk answer."""
    if fault == "shrunk":
        return lambda total: total // 3
    return lambda _: PAGE_SIZE if phase == "page two" else 0


def _is_told(told: ResultView, fate: Fate, person: Person, left_of: Callable[[int], int], *, has_list: bool) -> None:
    expected = "unchanged" if fate.outcome == "complete" and has_list else fate.outcome
    assert (told.outcome, told.error_code) == (expected, fate.code)
    title, total = PROVIDERS[person.slug].title, person.credential.model_count or 0
    missing = total - left_of(total) if fate.sentence == _MISSING else 0
    sentence = fate.sentence.format(title=title, total=total, missing=missing) if fate.sentence else None
    assert told.error_message == sentence
    assert bool(told.error_action) == bool(fate.code)
    assert has_list or "last list" not in (told.error_action or "")
    if fate.skipped is not None:
        assert told.skipped == fate.skipped


def _is_asked(fate: Fate, phase: str, person: Person) -> None:
    """As often as a retry may help, and no third time after the second try."""
    asked = len(person.stage.simulator.requests(person.slug))
    if phase == "retry":
        assert len(person.slept) == 1
        assert asked == 1 + (2 if fate == FATES["redirect_home"] else 1)
    else:
        assert asked == fate.asked + (phase == "page two")
    assert person.stage.simulator.unexpected_requests() == []


def _is_kept(fate: Fate, person: Person, *, has_list: bool) -> None:
    """A failure leaves the last good list in force, with all its models."""
    row = person.credential
    good = person.stage.good[person.slug]
    if has_list:
        assert row.listing_id == good
        active = db.session.scalar(
            select(func.count()).where(ModelRow.is_active, ModelRow.provider_id == row.provider_id)
        )
        assert active == row.model_count
    elif fate.outcome not in ("complete", "partial"):
        assert row.listing_id is None


def _is_recovered(person: Person, phase: str) -> None:
    """When the provider is well again the next sync is, and gets the list that everyone gets."""
    person.stage.simulator.clear_fault()
    person.means.now.forward(hours=1)  # type: ignore[attr-defined]
    if phase == "page two":
        person.stage.simulator.page_size = None
    person.means = replace(person.means, total_timeout_s=10.0)
    assert person.sync().outcome in ("complete", "unchanged")
    row = person.credential
    assert (row.listing_id, row.error_code, row.put_off_until) == (person.stage.good[person.slug], None, None)


def _is_not_doubled(person: Person, before: tuple[int, ...], phase: str) -> None:
    """A repeated sync writes nothing, and known models are stored once."""
    run_ids = list(db.session.scalars(select(RunRow.id).where(RunRow.user_id == person.user_id)))
    rows = person.rows
    assert sync.execute_many(run_ids, person.means) == set()
    assert person.rows == rows
    results = db.session.execute(select(ResultRow.run_id).where(ResultRow.user_id == person.user_id)).all()
    assert len(results) == len(set(results)) == len(run_ids)
    assert rows[1] == before[1], "models"
    twice = select(ModelRow.provider_id, ModelRow.provider_model_id).group_by(
        ModelRow.provider_id, ModelRow.provider_model_id
    )
    assert db.session.execute(twice.having(func.count() > 1)).all() == []


def _is_nowhere(person: Person, caplog: pytest.LogCaptureFixture, *, whole: bool) -> None:
    told = Told()
    told.add("the log", caplog.text)
    for seen in person.stage.simulator.requests():
        told.add("an address", seen.path + repr(seen.query))
    for table, column in (("credentials", "id"), ("results", "credential_id")):
        query = text(f"SELECT * FROM {table} WHERE {column} = :id")
        told.add(table, db.session.execute(query, {"id": person.credential_id}).all())
    if whole:
        read_database(told, Path(person.stage.app.config["SETTINGS"].instance))
    assert told.hits(person.slug) and told.hits(MARK) == []


def test_the_matrix_has_every_fault() -> None:
    assert FATES.keys() == FAULTS.keys()
    assert FATES.keys() > KINDS

"""New, changed, removed and returned models are counted once per provider, with the same numbers everywhere."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from app.cli.sync_runner import build_run_report
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.providers import provider_title
from app.store.accounts import tokens
from app.store.queries import changes, digest, labels, nav
from app.store.queries import runs as run_queries
from app.store.runs import TOTAL_COLUMNS
from app.store.schema.tables import ChangeRow, CredentialRow, ListingRow, ResultRow, RunRow
from app.sync.run import SyncContext
from app.web.admin.export import COUNTS
from tests.conftest import Person
from tests.sync.test_run import synced
from tests.web.text_browser import words
from tests.web.worker import now

IDS = ("gpt-4o", "o3", "gpt-5", "nobody-knows-1", "nobody-knows-2")
_lists = st.dictionaries(st.sampled_from(IDS), st.sampled_from([1_000, 2_000]), min_size=3)
_steps = st.lists(st.fixed_dictionaries({"openai": _lists, "groq": _lists}), min_size=2, max_size=4)
_WORDS = {"new": "new", "changed": "changed", "removed": "unlisted", "back": "relisted", "not": "new"}


def stored_counts(run_id: int) -> dict[str, int]:
    """From the change rows themselves."""
    query = (
        select(ChangeRow.kind, ResultRow.provider_id, ChangeRow.provider_model_id)
        .join(ResultRow, ResultRow.comparison_id == ChangeRow.comparison_id)
        .where(ResultRow.run_id == run_id)
    )
    models: dict[str, set[Any]] = defaultdict(set)
    for kind, provider_id, model_id in db.session.execute(query):
        models[kind].add((provider_id, model_id))
    return {kind: len(models[kind]) for kind in TOTAL_COLUMNS}


def in_words(text: str) -> dict[str, int]:
    """The counts that a headline names."""
    counts = dict.fromkeys(TOTAL_COLUMNS, 0)
    for number, word in re.findall(r"(\d+) (new|changed|removed|back|not)\b", text):
        counts[_WORDS[word]] = int(number)
    return counts


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_steps)
def test_every_place_shows_the_stored_counts(
    app: Flask, alice: Person, means: SyncContext, simulator: Simulator, story: Sequence[dict[str, dict[str, int]]]
) -> None:
    for row in (RunRow, CredentialRow, ListingRow):
        db.session.execute(delete(row))
    alice.row.sync_on_sign_in = False
    db.session.commit()
    db.session.expunge_all()
    alice.row = db.session.merge(alice.row)
    alice.client = app.test_client()
    alice.sign_in()
    for provider, label in (("openai", "work"), ("openai", "home"), ("groq", "")):
        alice.add_key(provider, label=label)
    token = tokens.create(alice.id, "counts", ("read",), now())
    db.session.commit()
    assert token
    headers = {"Authorization": f"Bearer {token[1]}"}
    for step in story:
        for provider, models in step.items():
            simulator.set_models(provider, [SimModel(name, context=size) for name, size in models.items()])
        run = synced(alice, means)
        expected = stored_counts(run.id)
        assert {kind: run.total(kind) for kind in COUNTS} == expected
        assert in_words(labels.summarize_run(run, provider_title, lambda _: "2 h ago")) == expected
        report = build_run_report(run)
        assert {kind: report[column] for kind, column in TOTAL_COLUMNS.items()} == expected
        of_api = alice.client.get(f"/api/v1/runs/{run.id}", headers=headers).json
        assert of_api and {kind: of_api[column] for kind, column in TOTAL_COLUMNS.items()} == expected
        table = alice.client.get("/history").text.partition('<table class="stacks runs">')[2]
        entry = table.partition("<tbody>")[2].partition("</tr>")[0]
        shown = dict(re.findall(r'data-label="(New|Changed|Removed)" class="num[^"]*">(\d+)', entry))
        assert shown == {name: str(expected[_WORDS[name.lower()]]) for name in ("New", "Changed", "Removed")}
        page = words(alice.client.get(f"/history/{run.id}").text)
        assert in_words(page[: page.index("Results")].split("manually.")[1]) == expected
        feed = changes.load_entries(alice.id, changes.ChangeFilter())
        of_run = [news for news in feed if news.occurrences[0].run_id == run.id]
        assert sum(news.count for news in of_run) == sum(expected.values())
        mailed = digest.load_digest(alice.id, run.id - 1, run.id, ("new", "gone", "terms"), ())
        assert mailed.count("new") == expected["new"]
    last = run_queries.load_latest_run(alice.id)
    assert last and nav.load_nav(alice.id).unseen_new <= sum(
        run.total_new_models for run in run_queries.list_runs(alice.id)[0]
    )

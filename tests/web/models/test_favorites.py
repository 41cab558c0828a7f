"""Starring, hiding and choosing columns on the page of models, with htmx and without."""

from __future__ import annotations

import pytest
from flask import Flask

from app.demo.simulator import Simulator
from app.extensions import db
from app.store.schema.tables import MarkRow
from app.sync.run import SyncContext
from tests.benchmarks.__main__ import queries
from tests.conftest import Person, both_databases
from tests.sync.test_run import named, synced


@pytest.fixture
def reader(app: Flask, alice: Person, simulator: Simulator, means: SyncContext) -> Person:
    simulator.set_models("openai", named("gpt-4o", "gpt-4.1", "o3"))
    alice.add_key("openai")
    synced(alice, means)
    return alice.sign_in()


def text(person: Person, path: str) -> str:
    answer = person.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


@both_databases
def test_a_hidden_model_is_left_out_with_the_count_and_can_be_shown_again(reader: Person) -> None:
    hidden = reader.post("/marks", provider="openai", model="o3", mark="hidden", here="q=o&sort=-price")
    assert (hidden.status_code, hidden.location) == (303, "/models?q=o&sort=-price")
    page_text = text(reader, "/models")
    assert "2 models" in page_text and "1 hidden" in page_text and ">o3</code>" not in page_text
    among = text(reader, "/models?marks=hidden")
    assert "1 model<" in among and ">o3</code>" in among and "Show again" in among
    reader.post("/marks", provider="openai", model="o3", mark="plain")
    assert (
        "3 models" in text(reader, "/models") and "hidden<" not in text(reader, "/models").partition("<table")[0][-400:]
    )


def test_a_star_is_kept_and_htmx_gets_its_form_alone(reader: Person) -> None:
    answer = reader.post("/marks", htmx=True, provider="openai", model="o3", mark="starred", name="o3")
    assert answer.text.lstrip().startswith('<form class="marks"') and 'aria-pressed="true"' in answer.text
    assert "1 model<" in text(reader, "/models?marks=starred")
    page = text(reader, "/models/openai/gpt-4o")
    assert 'aria-pressed="true"' not in page
    one = reader.post("/marks", provider="", model="openai/gpt-4o", mark="starred")
    assert one.location == "/models/openai/gpt-4o"
    assert 'aria-pressed="true"' in text(reader, "/models/openai/gpt-4o")
    assert "2 models" in text(reader, "/models?marks=starred")


def test_a_form_never_leads_to_an_address_of_somebodys_choice(reader: Person) -> None:
    for here in ("//evil.example", "next=https://evil.example", "q=%00&after=nonsense", "\ud7ff"):
        answer = reader.post("/marks", provider="openai", model="o3", mark="plain", here=here)
        assert answer.status_code == 303 and answer.location.startswith("/models"), here
        assert "evil" not in answer.location and "after" not in answer.location


def test_what_is_not_mine_cannot_be_marked(reader: Person, bob: Person) -> None:
    bob.sign_in()
    assert bob.post("/marks", provider="openai", model="o3", mark="starred").status_code == 404
    assert bob.post("/marks", provider="", model="nobody/knows", mark="starred").status_code == 404
    assert reader.post("/marks", provider="openai", model="o3", mark="loved").status_code == 400
    assert db.session.query(MarkRow).count() == 0


def test_columns_are_chosen_and_kept_for_their_person(reader: Person, bob: Person) -> None:
    assert ">Longest answer</th>" not in text(reader, "/models")
    token = reader.token("/models")
    form = {"csrf_token": token, "column": ["answer", "listed", "nonsense"], "here": "q=o3"}
    answer = reader.client.post("/settings/model-columns", data=form)
    assert (answer.status_code, answer.location) == (303, "/models?q=o3")
    page_text = text(reader, "/models")
    assert ">Longest answer</th>" in page_text and ">As of</th>" in page_text and ">Context</th>" not in page_text
    assert "just now" in page_text or "ago</time>" in page_text or "2026" in page_text
    reader.client.post("/settings/model-columns", data={"csrf_token": token})
    assert ">As of</th>" not in text(reader, "/models")  # none is a choice as well
    db.session.rollback()
    assert bob.row.model_columns is None


@both_databases
def test_the_number_of_queries_does_not_grow_with_marks_and_models(
    reader: Person, simulator: Simulator, means: SyncContext
) -> None:
    def count_statements(path: str) -> int:
        return queries(lambda: text(reader, path))

    paths = ("/models", "/models?marks=starred", "/models/compare?m=openai/o3")
    reader.post("/marks", provider="openai", model="o3", mark="starred")
    few = [count_statements(path) for path in paths]
    simulator.set_models("openai", named(*(f"gpt-4o-2024-{n:02}" for n in range(40)), "o3"))
    synced(reader, means)
    for n in range(10):
        reader.post("/marks", provider="openai", model=f"gpt-4o-2024-{n:02}", mark="starred")
    more = "&m=".join(["", *(f"openai/gpt-4o-2024-{n:02}" for n in range(4))])
    assert [count_statements(paths[0]), count_statements(paths[1]), count_statements(paths[2] + more)] == few

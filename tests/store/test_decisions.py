"""Decisions: saved, loaded with their types, audited, and undone only if nothing changed since."""

from __future__ import annotations

from decimal import Decimal

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.catalog.matching import CanonicalModel
from app.catalog.overrides import build_override
from app.extensions import db
from app.store import audit, decisions, overrides
from app.store.audit import Actor
from app.store.decisions import DecisionError
from app.store.schema.catalog_tables import AuditRow, DecisionRow
from tests.conftest import Person, both_databases
from tests.web.worker import now

pytestmark = both_databases

KNOWN, OTHER = "openai/gpt-4o", "openai/gpt-5"
NEW = CanonicalModel(
    id="acme/rocket-2",
    lab="acme",
    name="Rocket 2",
    served={"groq": ("rocket-2",)},
    context_length=128_000,
    input_per_million=Decimal("0.123456789"),
)


@pytest.fixture
def actor(carol: Person) -> Actor:
    return Actor(carol.id, carol.row.email)


def logged() -> int:
    return db.session.scalar(select(func.count()).select_from(AuditRow)) or 0


def test_a_match_is_saved_and_audited(app: Flask, actor: Actor) -> None:
    entry = decisions.save_match("groq", "some/odd-id", KNOWN, actor, now(), "their page says so")
    assert entry is not None
    decisions.save_match("groq", "other", None, actor, now())
    assert decisions.load("match").matches == {("groq", "some/odd-id"): KNOWN, ("groq", "other"): None}
    line = audit.list_entries()[0][1]
    assert (line.actor, line.action, line.subject) == ("carol@example.com", "match", "groq/some/odd-id")
    assert line.before is None
    assert line.after == {"canonical_id": KNOWN, "reason": "their page says so"}


def test_an_equal_decision_writes_nothing(app: Flask, actor: Actor) -> None:
    assert decisions.save_match("groq", "x", KNOWN, actor, now())
    assert decisions.save_match("groq", "x", KNOWN, actor, now()) is None
    assert decisions.remove("match", "groq/never", actor, now()) is None
    assert logged() == 1


@pytest.mark.parametrize(
    ("slug", "canonical_id", "sentence"),
    [
        ("nobody", KNOWN, 'There is no provider "nobody".'),
        ("groq", "acme/none", 'There is no canonical model "acme/none" in the catalog.'),
    ],
)
def test_a_match_with_an_unknown_model_is_rejected(
    app: Flask, actor: Actor, slug: str, canonical_id: str, sentence: str
) -> None:
    with pytest.raises(DecisionError) as refused:
        decisions.save_match(slug, "x", canonical_id, actor, now())
    assert str(refused.value) == sentence
    assert logged() == 0


def test_a_canonical_model_round_trips_exactly(app: Flask, actor: Actor) -> None:
    decisions.save_canonical(NEW, actor, now())
    db.session.expire_all()
    assert decisions.load("canonical").canonicals == {NEW.id: NEW}
    assert decisions.is_known(NEW.id)  # at once, before the catalog in force has it
    decisions.save_match("groq", "another-id", NEW.id, actor, now())


def test_fields_have_the_types_of_the_model(app: Flask, actor: Actor) -> None:
    decisions.save_field(KNOWN, "input_per_million", Decimal("2.50"), actor, now())
    decisions.save_field(KNOWN, "tools", False, actor, now())
    decisions.save_field(OTHER, "output_modalities", ("text",), actor, now())
    assert decisions.load("field").fields == {
        KNOWN: {"input_per_million": Decimal("2.50"), "tools": False},
        OTHER: {"output_modalities": ("text",)},
    }


@pytest.mark.parametrize(
    ("canonical_id", "field", "value"),
    [
        (KNOWN, "tools", "perhaps"),
        (KNOWN, "context_length", Decimal("1.5")),
        (KNOWN, "kind", "soup"),
        (KNOWN, "id", "x"),
        (KNOWN, "nose", 1),
        ("acme/none", "tools", True),
    ],
)
def test_an_invalid_field_is_rejected(app: Flask, actor: Actor, canonical_id: str, field: str, value: object) -> None:
    with pytest.raises(DecisionError):
        decisions.save_field(canonical_id, field, value, actor, now())
    assert logged() == 0


def test_a_setting_is_loaded_and_none_by_default(app: Flask, actor: Actor) -> None:
    assert decisions.load_setting(decisions.AUTO_ADOPT) is None
    decisions.save_setting(decisions.AUTO_ADOPT, True, actor, now())
    assert decisions.load_setting(decisions.AUTO_ADOPT) is True
    assert decisions.load("setting").settings == {decisions.AUTO_ADOPT: True}


# ------------------------------------------------------------------ undo


def test_undo_restores_the_previous_state_with_its_reason_and_is_audited(app: Flask, actor: Actor) -> None:
    decisions.save_match("groq", "x", KNOWN, actor, now(), "first")
    second = decisions.save_match("groq", "x", OTHER, actor, now(), "second")
    assert second is not None
    undone = decisions.undo(second.id, actor, now())
    assert decisions.load("match").matches == {("groq", "x"): KNOWN}
    assert db.session.scalar(select(DecisionRow.reason)) == "first"
    line = audit.list_entries()[0][0]
    assert (line.id, line.undoes_id) == (undone.id, second.id)
    assert (line.before, line.after) == (second.after, second.before)
    assert audit.list_entries()[0][1].undone_by_id == undone.id


def test_undo_of_the_first_decision_deletes_it_and_undo_of_that_restores_it(app: Flask, actor: Actor) -> None:
    entry = decisions.save_canonical(NEW, actor, now())
    assert entry is not None
    undone = decisions.undo(entry.id, actor, now())
    assert decisions.load("canonical").canonicals == {}
    redone = decisions.undo(undone.id, actor, now())
    assert decisions.load("canonical").canonicals == {NEW.id: NEW}
    decisions.undo(redone.id, actor, now())
    assert decisions.load("canonical").canonicals == {}


def test_undo_is_rejected_after_a_later_change_naming_that_entry(app: Flask, actor: Actor) -> None:
    first = decisions.save_match("groq", "x", KNOWN, actor, now())
    second = decisions.save_match("groq", "x", OTHER, Actor(None, "command line"), now())
    assert first is not None and second is not None
    with pytest.raises(DecisionError, match=rf"changed since, by entry {second.id} of command line"):
        decisions.undo(first.id, actor, now())
    assert decisions.load("match").matches == {("groq", "x"): OTHER}
    decisions.undo(second.id, actor, now())
    decisions.undo(first.id, actor, now())  # now the state is that of the first
    assert decisions.load("match").matches == {}


def test_undo_is_rejected_twice_and_for_unknown_entries(app: Flask, actor: Actor) -> None:
    entry = decisions.save_setting("x", 1, actor, now())
    assert entry is not None
    decisions.undo(entry.id, actor, now())
    decisions.save_setting("x", 1, actor, now())
    for audit_id, sentence in ((entry.id, "taken back already"), (10**15, "no such entry")):
        with pytest.raises(DecisionError, match=sentence):
            decisions.undo(audit_id, actor, now())
    assert decisions.load_setting("x") == 1


def test_an_override_is_undone_only_if_unchanged(app: Flask, actor: Actor) -> None:
    overrides.save(build_override("groq", KNOWN, 100, {"context_length": 32_000}), actor, now())
    entry = audit.list_entries()[0][0]
    undone = decisions.undo(entry.id, actor, now())
    assert overrides.load_manual() == {}
    decisions.undo(undone.id, actor, now())
    assert overrides.load_manual()["groq", KNOWN].facts == {"context_length": 32_000}
    overrides.save(build_override("groq", KNOWN, 100, {"context_length": 64_000}), actor, now())
    redone = audit.list_entries()[0][1]
    with pytest.raises(DecisionError, match="changed since"):
        decisions.undo(redone.id, actor, now())
    assert overrides.load_manual()["groq", KNOWN].facts == {"context_length": 64_000}


def test_withdrawn_subjects_are_remembered(app: Flask, actor: Actor) -> None:
    entry = decisions.save_canonical(NEW, audit.AUTOMATIC, now())
    assert entry is not None
    assert decisions.withdrawn_subjects("canonical") == frozenset()
    decisions.undo(entry.id, actor, now())
    assert decisions.withdrawn_subjects("canonical") == {NEW.id}

"""Overrides: sync replaces only automatic ones; an import is all or nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.catalog.listing import ListedModel
from app.catalog.matching import CanonicalModel, CatalogIndex, Match
from app.catalog.override_files import OverrideEntry, format_file, format_line, parse_file
from app.catalog.overrides import Override, OverrideError, build_override, derive_override, to_json
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import audit, auto_overrides, catalog, credentials, models, overrides
from app.store.audit import COMMAND_LINE
from app.store.schema.catalog_tables import OverrideRow
from app.sync.run import SyncContext
from tests.catalog.test_overrides import DIFFERENT, EMPTY, MANUAL
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted
from tests.sync.test_run import named, synced

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
GPT, MINI = "openai/gpt-4o", "openai/gpt-4o-mini"
INDEX = CatalogIndex(
    CanonicalModel(id=one, lab="openai", name=one, context_length=128_000, input_per_million=Decimal(1))
    for one in (GPT, MINI)
)


def provider_id(slug: str = "groq") -> int:
    return credentials.providers_by_slug()[slug].id


def listed(model_id: str, canonical_id: str | None = GPT, match: tuple[str, str] = ("", ""), **facts: Any) -> Any:
    return ListedModel(id=model_id, **facts), Match(canonical_id, "exact", *match)


def write(*pairs: Any, now: datetime = NOW, slug: str = "groq") -> int:
    return auto_overrides.save(provider_id(slug), slug, pairs, INDEX, now)


def decided(model: str = GPT, priority: int = 100, slug: str = "groq", **facts: Any) -> Override:
    return build_override(slug, model, priority, facts or {"context_length": 5}, "because")


def put(override: Override, now: datetime = NOW) -> Override:
    return overrides.save(override, COMMAND_LINE, now)


def spoken_for() -> dict[str, str]:
    """Canonical id → the provider's id that its override was made from."""
    rows = db.session.scalars(select(OverrideRow).execution_options(populate_existing=True))
    return {row.canonical_id: row.provider_model_id for row in rows}


# ------------------------------------------------------------------ automatic


@both_databases
def test_only_canonical_chat_models_get_an_override(app: Flask) -> None:
    write(
        listed("same", GPT, context_length=128_000, input_per_million=Decimal("1.0")),
        listed("other", MINI, context_length=64_000, input_per_million=Decimal("0.1"), tools=False),
        listed("mine", GPT, private=True),
        listed("drawing", GPT, kind="image"),
        listed("unheard-of", None),
        listed("gone-from-the-catalog", "openai/gone"),
    )
    assert overrides.export("groq") == [
        Override(provider_id="groq", model_id=GPT, priority=0),
        build_override(
            "groq", MINI, 0, {"context_length": 64_000, "input_per_million": Decimal("0.1"), "tools": False}
        ),
    ]
    assert spoken_for() == {GPT: "same", MINI: "other"}


@both_databases
def test_the_largest_allowed_number_round_trips(app: Flask) -> None:
    write(listed("x", GPT, context_length=2**53 - 1))
    assert [one.facts for one in overrides.export()] == [{"context_length": 2**53 - 1}]
    assert imported(format_file(overrides.export())) == overrides.OverrideImportResult(skipped=1)


@both_databases
def test_the_plain_id_represents_its_model_then_the_shortest(app: Flask) -> None:
    variant, snapshot = listed("a", match=("free", "")), listed("b", match=("", "2024-08-06"))
    write(variant, snapshot)
    assert spoken_for() == {GPT: "a"}
    write(variant, snapshot, listed("the-longer-plain-id"), listed("a-plain-id"))
    assert spoken_for() == {GPT: "a-plain-id"}


@both_databases
def test_a_sync_replaces_automatic_overrides_and_writes_only_differences(app: Flask) -> None:
    assert write(listed("x", GPT, tools=True), listed("y", MINI)) == 2
    with counted() as sent:
        assert write(listed("x", GPT, tools=True), listed("y", MINI), now=LATER) == 0
    assert len(sent) == 2  # the provider of this test, and what is there
    assert write(listed("x", GPT, tools=False), listed("y", MINI), now=LATER) == 1
    assert [one.capabilities for one in overrides.export("groq")] == [{"tools": False}, None]
    rows = db.session.scalars(select(OverrideRow).order_by(OverrideRow.canonical_id)).all()
    assert [(row.created_at, row.updated_at) for row in rows] == [(NOW, LATER), (NOW, NOW)]


@both_databases
def test_manual_overrides_survive_syncs(app: Flask) -> None:
    kept = put(decided(input_per_million=Decimal("1.10")))
    write(listed("x", GPT, tools=True, input_per_million=Decimal(9)))
    write(listed("x", GPT))
    auto_overrides.remove(provider_id(), [GPT, MINI])
    assert overrides.export("groq") == [kept]
    auto_overrides.remove_unserved()
    assert overrides.export("groq") == [kept]


@both_databases
def test_overrides_of_unlisted_models_are_deleted_for_their_provider_only(app: Flask) -> None:
    for slug in ("groq", "together"):
        write(listed("x", GPT), listed("y", MINI), slug=slug)
    auto_overrides.remove(provider_id(), [MINI, "openai/never"])
    assert [(one.provider_id, one.model_id) for one in overrides.export()] == [
        ("groq", GPT),
        ("together", GPT),
        ("together", MINI),
    ]


@both_databases
def test_after_a_catalog_change_only_served_overrides_remain(app: Flask) -> None:
    pairs = [listed("x", GPT), listed("y", MINI)]
    models.save(provider_id(), pairs, NOW)
    write(*pairs)
    auto_overrides.remove_unserved()
    assert len(overrides.export()) == 2
    models.save(provider_id(), [listed("x", GPT), listed("y", GPT)], NOW)
    auto_overrides.remove_unserved()
    assert [one.model_id for one in overrides.export()] == [GPT]
    models.deactivate(provider_id(), ["x", "y"], NOW)
    auto_overrides.remove_unserved()
    assert overrides.export() == []


@both_databases
def test_syncs_create_and_delete_automatic_overrides_only(
    app: Flask, alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openai")
    kept = put(decided("openai/gpt-4", slug="openai", tools=True))
    db.session.commit()
    made = {}
    for models_now in (["gpt-4o", "gpt-4"], ["gpt-4o", "gpt-4", "o3"], ["gpt-4o", "o3"]):
        simulator.set_models("openai", named(*models_now))
        synced(alice, means)
        made[len(made)] = [one.model_id for one in overrides.export("openai") if not one.is_manual]
        assert overrides.export("openai", only_manual=True) == [kept]
    assert made == {
        0: ["openai/gpt-4", "openai/gpt-4o"],
        1: ["openai/gpt-4", "openai/gpt-4o", "openai/o3"],
        2: ["openai/gpt-4o", "openai/o3"],
    }


def test_a_thousand_models_are_written_in_a_few_statements(app: Flask) -> None:
    index = CatalogIndex(CanonicalModel(id=f"lab/{n}", lab="lab", name=str(n)) for n in range(2_500))
    pairs = [listed(str(n), f"lab/{n}", context_length=n + 1) for n in range(2_500)]
    groq = provider_id()
    with counted() as sent:
        assert auto_overrides.save(groq, "groq", reversed(pairs), index, NOW) == 2_500
    assert len(sent) == 4
    ids = db.session.scalars(select(OverrideRow.canonical_id).order_by(OverrideRow.id)).all()
    assert ids == sorted(ids)


@both_databases
def test_two_workers_with_one_providers_lists_do_not_deadlock(app: Flask) -> None:
    index = CatalogIndex(CanonicalModel(id=f"lab/{n}", lab="lab", name=str(n)) for n in range(300))
    groq = provider_id()
    db.session.commit()
    both = threading.Barrier(2)

    def work(number: int) -> None:
        with app.app_context():
            for turn in range(5):
                # this worker's own list; the other's differs, in another order
                pairs = [listed(str(n), f"lab/{n}", context_length=1 + number + 2 * turn) for n in range(300)]
                both.wait(30)
                auto_overrides.save(groq, "groq", pairs[:: 1 - 2 * number], index, NOW)
                db.session.commit()

    with ThreadPoolExecutor(2) as workers:
        for done in [workers.submit(work, number) for number in range(2)]:
            done.result(60)
    assert {one.facts["context_length"] for one in overrides.export()} <= {9, 10}


# ------------------------------------------------------------------ manual


@both_databases
@pytest.mark.parametrize("price", ["0.1", "1e-7", "1.10", "100000", "0"])
def test_a_price_round_trips_exactly(app: Flask, price: str) -> None:
    stored = put(decided(input_per_million=Decimal(price)))
    db.session.commit()
    db.session.expire_all()
    (again,) = overrides.export()
    assert again == stored and str(again.facts["input_per_million"]) == str(Decimal(price))
    assert overrides.load_manual() == {("groq", GPT): stored}


@both_databases
def test_a_manual_override_is_audited_with_before_and_after_once(app: Flask) -> None:
    first = put(decided(context_length=5))
    assert put(decided(context_length=5), LATER) == first
    second = put(decided(context_length=6), LATER)
    assert overrides.remove("groq", GPT, 100, COMMAND_LINE, LATER) == second
    assert overrides.remove("groq", GPT, 100, COMMAND_LINE, LATER) is None
    lines, _ = audit.list_entries()
    assert {(line.action, line.subject, line.actor) for line in lines} == {
        ("override", "groq/openai/gpt-4o@100", "command line")
    }
    assert [(line.before, line.after) for line in lines] == [
        (to_json(second), None),
        (to_json(first), to_json(second)),
        (None, to_json(first)),
    ]
    assert [line.reason for line in lines] == ["because"] * 3


@both_databases
def test_the_highest_priority_wins_field_by_field(app: Flask) -> None:
    put(decided(priority=100, context_length=5, tools=True))
    put(decided(priority=200, context_length=6))
    write(listed("x", GPT, vision=True))
    assert overrides.load_manual() == {("groq", GPT): decided(priority=200, context_length=6, tools=True)}
    assert [one.priority for one in overrides.load_for_model(GPT)] == [200, 100, 0]
    assert overrides.load_for_model(MINI) == []
    overrides.remove("groq", GPT, 200, COMMAND_LINE, NOW)
    assert overrides.load_manual()["groq", GPT].facts == {"context_length": 5, "tools": True}


@both_databases
def test_facts_are_added_to_an_existing_override(app: Flask) -> None:
    facts: dict[str, Any] = {"tools": True}
    overrides.amend("groq", "gpt-4o", 100, facts, "one", COMMAND_LINE, NOW)
    stored = overrides.amend("groq", GPT, 100, {"vision": False}, "two", COMMAND_LINE, LATER)
    assert overrides.export() == [stored]
    assert (stored.model_id, stored.reason, stored.facts) == (GPT, "two", {"tools": True, "vision": False})
    assert overrides.amend("groq", GPT, 100, {"tools": False}, "three", COMMAND_LINE, LATER).facts["tools"] is False


@both_databases
def test_an_override_is_restored_to_any_state_of_the_log(app: Flask) -> None:
    first, second = put(decided(context_length=5)), put(decided(context_length=6))
    subject = overrides.format_subject(("groq", GPT, 100))
    assert overrides.restore(subject, to_json(first), LATER) == second
    assert overrides.export() == [first]
    assert overrides.restore(subject, None, LATER) == first
    assert overrides.export() == []
    assert overrides.restore(subject, to_json(first), LATER) is None
    assert overrides.export() == [first]
    assert len(audit.list_entries()[0]) == 2  # the caller of `restore` writes the audit entry


def test_a_subject_names_one_override(app: Flask) -> None:
    for key in (("groq", GPT, 100), ("x", "lab/m@1/y", 7)):
        assert overrides.parse_subject(overrides.format_subject(key)) == key
    for wrong in ("", "groq", "groq/x", "groq/x@", "groq/@1", "/x@1", "groq/x@²", "groq/x@-1"):
        with pytest.raises(OverrideError, match="names no override"):
            overrides.parse_subject(wrong)
    with pytest.raises(OverrideError, match="not of groq/x@100"):
        overrides.restore("groq/x@100", to_json(decided()), NOW)
    with pytest.raises(OverrideError, match='There is no provider "gone" any more'):
        overrides.restore(f"gone/{GPT}@100", to_json(decided(slug="gone")), NOW)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (decided(priority=99), "A manual override has a priority from 100 to 1000000, not 99: those below are made by"),
        (decided(slug="nobody"), 'There is no provider "nobody": see `flask providers list`.'),
        (decided("nothing"), 'There is no canonical model "nothing": see `flask catalog match groq nothing`.'),
        (decided("openai/gpt-4o:free"), 'There is no canonical model "openai/gpt-4o:free"'),
    ],
)
def test_an_invalid_override_is_rejected_with_a_message(app: Flask, override: Override, sentence: str) -> None:
    with pytest.raises(OverrideError) as caught:
        put(override)
    assert str(caught.value).startswith(sentence)
    assert overrides.export() == [] and audit.list_entries() == ((), None)


def test_automatic_overrides_cannot_be_removed_manually(app: Flask) -> None:
    write(listed("x", GPT))
    with pytest.raises(OverrideError, match="priority from 100"):
        overrides.remove("groq", GPT, 0, COMMAND_LINE, NOW)
    assert len(overrides.export()) == 1


# ------------------------------------------------------------------ files


def imported(text: str) -> overrides.OverrideImportResult:
    return overrides.import_all(parse_file(text, "overrides.json"), COMMAND_LINE, NOW)


@both_databases
def test_the_documents_example_is_imported_exactly_with_real_names(app: Flask) -> None:
    text = MANUAL.replace("custom-provider", "groq").replace("special-model", "gpt-4")
    assert imported(text) == overrides.OverrideImportResult(added=1)
    (stored,) = overrides.export()
    (said,) = parse_file(text.replace("gpt-4", "openai/gpt-4"), "overrides.json")
    assert stored == said.override
    assert imported(text) == overrides.OverrideImportResult(unchanged=1)
    assert imported(text.replace("2.0", "2.5")) == overrides.OverrideImportResult(changed=1)


def test_an_example_above_its_priority_is_a_persons(app: Flask) -> None:
    text = DIFFERENT.replace("provider-x", "groq").replace('"priority": 0', '"priority": 150')
    assert imported(text).added == 1
    assert overrides.load_manual()["groq", "openai/gpt-4"].facts == {
        "context_length": 32_000,
        "input_per_million": Decimal("5.0"),
        "output_per_million": Decimal("15.0"),
    }


@both_databases
def test_automatic_overrides_are_skipped_on_import(app: Flask) -> None:
    manual = MANUAL.replace("custom-provider", "groq").replace("special-model", "gpt-4")
    assert imported(f"[{EMPTY}, {DIFFERENT}, {manual}]") == overrides.OverrideImportResult(added=1, skipped=2)
    assert [one.priority for one in overrides.export()] == [100]


@both_databases
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (MANUAL, 'there is no provider "custom-provider": see `flask providers list`.'),
        (MANUAL.replace("custom-provider", "groq"), 'there is no canonical model "special-model": see `flask catalog '),
        (
            format_line(decided(GPT)),
            "it has the provider, model and priority of another one, overrides.json, entry 2 (line 6).",
        ),
    ],
)
def test_an_import_with_one_wrong_entry_changes_nothing_and_names_its_line(
    app: Flask, wrong: str, sentence: str
) -> None:
    before = put(decided(MINI, context_length=1))
    good = f"{EMPTY},\n{format_line(decided(GPT))},\n{format_line(decided(MINI, context_length=2))}"
    with pytest.raises(OverrideError) as caught:
        imported(f"[{good},\n\n{wrong}]")
    assert str(caught.value).startswith(f"overrides.json, entry 4 (line 9): {sentence}")
    assert overrides.export() == [before] and len(audit.list_entries()[0]) == 1


@both_databases
def test_an_export_can_be_imported_elsewhere(app: Flask) -> None:
    write(listed("x", GPT, tools=True))
    kept = [put(decided(MINI, 5_000)), put(decided(GPT, input_per_million=Decimal("1.10")))]
    assert format_file(overrides.export("groq", only_manual=True)) == format_file(kept)
    put(decided(MINI, slug="together"))
    text = format_file(overrides.export())
    for one in overrides.export(only_manual=True):
        overrides.remove(one.provider_id, one.model_id, one.priority, COMMAND_LINE, NOW)
    assert imported(text) == overrides.OverrideImportResult(added=3, skipped=1)
    assert format_file(overrides.export()) == text


def test_an_import_keeps_other_overrides(app: Flask) -> None:
    kept = put(decided(MINI))
    overrides.import_all([OverrideEntry(decided(GPT))], COMMAND_LINE, NOW)
    assert kept in overrides.export() and len(overrides.export()) == 2


@both_databases
def test_overrides_outlive_the_canonical_model_they_are_about(app: Flask) -> None:
    kept = put(decided())
    catalog.activate("another", "seed", catalog.load_models(), [CanonicalModel(id="lab/m", lab="lab", name="M")], NOW)
    assert overrides.export() == [kept]
    assert overrides.remove("groq", GPT, 100, COMMAND_LINE, NOW) == kept


def test_the_columns_are_the_documents_form(app: Flask) -> None:
    put(decided(input_per_million=Decimal("5.0"), context_length=32_000, tools=True))
    row = db.session.scalars(select(OverrideRow)).one()
    assert row.pricing == {"input": {"per_million_tokens": "5.0", "currency": "USD"}}
    assert (row.limits, row.capabilities, row.reason) == ({"context_window": 32_000}, {"tools": True}, "because")
    assert derive_override("groq", INDEX.models[GPT], ListedModel(id="x")).pricing is None
    assert db.session.scalar(select(func.count()).select_from(OverrideRow)) == 1
